import { collectDefaultMetrics, Registry } from 'prom-client';
import { PROCESS_METRICS } from './metric-catalogue.ts';

/** How often the delay of the event loop is sampled, in ms: alerts are about stalls ten times as long. */
const EVENT_LOOP_PRECISION_MS = 20;

let registry: Registry | null = null;

/**
 * What prom-client tells of the Node process, from the first call on. There is one process, and prom-client never ends its watching of
 * event loop and garbage collection, so all metrics of one process share it.
 */
export function processMetrics(): Registry {
  if (registry !== null) return registry;
  registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
  for (const { name } of registry.getMetricsAsArray()) {
    // What walks all handles of the process, or says in forty lines what the heap's total says in one, is not worth its scrape.
    if (!(name in PROCESS_METRICS)) registry.removeSingleMetric(name);
  }
  return registry;
}
