import type { LlameroEmitter, LlameroEvents } from '../core/events.ts';
import type { MetricName } from './metric-catalogue.ts';
import type { MetricSeries } from './metric-series.ts';
import { faultOf } from './request-metrics.ts';

/**
 * Counts the rare events of one engine and its requests.
 * @param engine label of the engine.
 * @returns a function that stops listening.
 */
export function countEvents(series: MetricSeries<MetricName>, events: LlameroEmitter, engine: string): () => void {
  // Alerts look at increases: what only begins to exist with its first event would hide that one.
  const starts = series.count('llamero_engine_starts_total', { engine });
  const crashes = series.count('llamero_engine_crashes_total', { engine });
  const hangs = series.count('llamero_engine_hangs_total', { engine });
  const opened = series.count('llamero_circuit_opened_total', { engine });
  const truncations = series.count('llamero_silent_truncations_total');
  const storeUp = series.count('llamero_rate_limit_store_up');
  const listening: (() => void)[] = [];
  const listen = <Name extends keyof LlameroEvents>(
    name: Name,
    listener: (payload: LlameroEvents[Name][0]) => void,
  ) => {
    // The typed overloads of EventEmitter do not resolve for a generic name.
    const untyped = events as NodeJS.EventEmitter;
    untyped.on(name, listener);
    listening.push(() => untyped.off(name, listener));
  };

  listen('request-refused', ({ route, error: { code, status } }) => {
    series.count('llamero_refused_requests_total', { code, fault: faultOf(status), route }).value += 1;
  });
  for (const way of ['ids', 'text', 'replay']) series.count('llamero_stream_continuations_total', { way });
  storeUp.value = 1;
  listen('rate-limit-store', ({ ok }) => (storeUp.value = ok ? 1 : 0));
  for (const owner of ['llamero', 'engine', 'machine']) series.count('llamero_memory_ok', { of: owner }).value = 1;
  listen('memory', ({ of, ok }) => (series.count('llamero_memory_ok', { of }).value = ok ? 1 : 0));
  listen('retry', ({ route }) => (series.count('llamero_retries_total', { route }).value += 1));
  listen('stream-continued', ({ way }) => (series.count('llamero_stream_continuations_total', { way }).value += 1));
  listen('stream-truncated', () => (truncations.value += 1));
  listen('request-suspect', ({ refused }) => {
    series.count('llamero_request_suspects_total', { refused: String(refused) }).value += 1;
  });
  listen('circuit', ({ to }) => (opened.value += to === 'open' ? 1 : 0));
  listen('engine-start', () => (starts.value += 1));
  listen('engine-hang', () => (hangs.value += 1));
  listen('engine-replacement', ({ cause, ok }) => {
    series.count('llamero_engine_replacements_total', { engine, cause, ok: String(ok) }).value += 1;
  });
  listen('engine-exit', ({ cause, expected }) => {
    series.count('llamero_engine_exits_total', { engine, cause }).value += 1;
    if (!expected) crashes.value += 1;
  });
  return () => {
    for (const stop of listening.splice(0)) stop();
  };
}
