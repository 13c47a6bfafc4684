import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../statistics.ts';
import { type LoadCounts, runClients } from './clients.ts';
import type { SoakSample } from './judge-soak.ts';
import { REQUEST_CLASSES } from './probe.ts';
import { type Served, startServed } from './served.ts';

/** What is run. */
export interface SoakOptions {
  readonly durationMs: number;
  readonly clients: number;
  readonly sampleEveryMs: number;
  /** null: the engine is left alone. */
  readonly killEveryMs: number | null;
  readonly seed: number;
  /** The llama-server; null: the double. */
  readonly command: string | null;
  readonly progress: (sample: SoakSample) => void;
}

/** What came of it. */
export interface SoakResult {
  readonly samples: readonly SoakSample[];
  readonly requests: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly kills: number;
  /** Objects of single requests that were there when none was: by class. */
  readonly leftObjects: Readonly<Record<string, number>>;
  /** How `llamero serve` ended at SIGTERM: its exit code or signal. */
  readonly end: string;
}

/** Until the last answers have left, and connections have closed. */
const QUIET_MS = 30_000;
const LOOK_MS = 200;

/** A gateway under mixed load in a process of its own, looked at every few seconds from inside. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const served = await startServed(options.command);
  try {
    return await soak(served, options);
  } finally {
    await served[Symbol.asyncDispose]();
  }
}

async function soak(served: Served, options: SoakOptions): Promise<SoakResult> {
  const counts: LoadCounts = { requests: 0, outcomes: {} };
  const over = new AbortController();
  const { clients, seed } = options;
  const load = runClients({ port: served.port, clients, random: seededRandom(seed), counts }, over.signal);
  const killing = options.killEveryMs === null ? null : killEngines(served, options.killEveryMs, over.signal);
  let samples: SoakSample[];
  try {
    samples = await takeSamples(served, options, counts);
  } finally {
    over.abort();
    await load;
  }
  const kills = (await killing) ?? 0;
  await quiet(served);
  const { counts: live } = await served.ask('count');
  const left = REQUEST_CLASSES.map((name) => [name, live[name] ?? 0] as const).filter(([, count]) => count > 0);
  const end = await served.stop();
  return { samples, ...counts, kills, leftObjects: Object.fromEntries(left), end };
}

async function takeSamples(served: Served, options: SoakOptions, counts: LoadCounts): Promise<SoakSample[]> {
  const samples: SoakSample[] = [];
  const startedAt = performance.now();
  const elapsed = () => performance.now() - startedAt;
  // A sample that comes too soon after another one tells no rate, and neither does a single one, however long it takes.
  while (samples.length < 2 || options.durationMs - elapsed() > options.sampleEveryMs / 2) {
    await sleep(options.sampleEveryMs);
    const { heap, external, anonymous, counts: live } = await served.ask('sample');
    const descriptors = live['file descriptors'] ?? 0;
    const sample = { seconds: elapsed() / 1000, requests: counts.requests, heap, external, anonymous, descriptors };
    samples.push(sample);
    options.progress(sample);
  }
  return samples;
}

/** Kills the engine again and again. @returns how often */
async function killEngines(served: Served, everyMs: number, signal: AbortSignal): Promise<number> {
  let kills = 0;
  for (;;) {
    try {
      await sleep(everyMs, undefined, { signal });
    } catch {
      // The run is over.
      return kills;
    }
    const pid = await served.enginePid();
    if (pid === null) continue;
    process.kill(pid, 'SIGKILL');
    kills += 1;
  }
}

/** Resolves when nothing is under way, or after a while: what is left then is counted. */
async function quiet(served: Served): Promise<void> {
  const deadline = performance.now() + QUIET_MS;
  while ((await served.unsettled()) > 0 && performance.now() < deadline) await sleep(LOOK_MS);
  // What the last ones left behind: sockets that close, timers that run out.
  await sleep(1000);
}
