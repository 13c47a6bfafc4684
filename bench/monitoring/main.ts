/**
 * `npm run check:dashboard`: a real Prometheus, with the configuration and rules of deploy/prometheus, scrapes a `llamero serve` with
 * a real engine, under load and while the engine is killed. Every query of the dashboard must have data, and what happened must be
 * what is shown. Takes about two minutes; needs `prometheus` on the PATH. Exit code 1 when something is not so.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { findEngine } from '../real-engine.ts';
import { checkPanels, MAY_BE_EMPTY } from './check-panels.ts';
import { compare, lastToCome } from './compare.ts';
import type { Dashboard } from './make-dashboard.ts';
import { Prometheus } from './prometheus.ts';
import { letThingsHappen } from './run-of-events.ts';
import { WatchedServe } from './watched-serve.ts';

const DASHBOARD = path.resolve(import.meta.dirname, '../../deploy/grafana/llamero-dashboard.json');
const SCRAPE_SECONDS = 1;
const SCRAPED_MS = 10_000;

const dashboard = JSON.parse(await readFile(DASHBOARD, 'utf8')) as Dashboard;
await using stack = new AsyncDisposableStack();
const serve = await WatchedServe.start(await findEngine());
stack.defer(() => serve.stop());
const prometheus = await Prometheus.start(new URL(serve.url).host, serve.keys.prometheus, SCRAPE_SECONDS);
stack.defer(() => prometheus.stop());
const startedAt = Date.now() / 1000;

const isEngineKnown = async () => (await prometheus.sum('count(llamero_engine_memory_growth_bytes_per_request)')) > 0;
const done = await letThingsHappen(serve, isEngineKnown, (what) => console.error(what));
const scraped = await prometheus.until(...lastToCome(done), SCRAPED_MS);
if (!scraped) console.log('Prometheus does not know of all requests.');

const panels = await checkPanels(dashboard, prometheus, startedAt);
const comparisons = await compare(prometheus, done);
const brokenRules = await prometheus.brokenRules();
console.table(panels.map(({ title, legend, last, most }) => ({ panel: title, series: legend, last, most })));
console.table(comparisons);
for (const rule of brokenRules) console.log(`Rule ${rule}`);
const flaws = panels.filter(({ flaw }) => flaw !== null);
for (const { title, legend, flaw } of flaws) console.log(`Panel ${title}, ${legend}: ${flaw}`);
for (const [title, reason] of Object.entries(MAY_BE_EMPTY)) console.log(`Panel ${title} may be empty: ${reason}.`);
const isTrue = scraped && comparisons.every((comparison) => comparison.isTrue);
console.log(flaws.length === 0 && isTrue && brokenRules.length === 0 ? 'All of it is true.' : 'Not all of it is true.');
if (flaws.length > 0 || !isTrue || brokenRules.length > 0) process.exitCode = 1;
