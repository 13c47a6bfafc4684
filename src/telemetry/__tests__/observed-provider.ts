import { LlameroEmitter, type SettledRequest } from '../../core/events.ts';
import type { MetricsSource } from '../metrics.ts';
import type { ObservedStatus } from '../status-metrics.ts';

const IDLE: ObservedStatus = {
  inFlight: 0,
  slotsInUse: 0,
  circuit: 'closed',
  limitedClients: 0,
  fairness: { gap: 0, bound: 0, waitingClients: 0, knownClients: 0, classes: [] },
  state: 'ready',
  facts: { model: 'tiny', slots: 4, build: 'b1-abc' },
  readySince: 1_764_000_000_000,
  startMs: 1500,
  memory: null,
};

/** A provider of which only events and status are there. */
export function observedProvider(status: Partial<ObservedStatus> = {}): MetricsSource & { events: LlameroEmitter } {
  return { events: new LlameroEmitter(), status: () => ({ ...IDLE, ...status }) };
}

/** A completed stream of 11 tokens, 4 of its 10 prompt tokens cached; the times are easy to tell apart. */
export function settledRequest(request: Partial<SettledRequest> = {}): SettledRequest {
  return {
    id: 'r',
    route: 'chat.completions',
    model: 'tiny',
    stream: true,
    outcome: 'completed',
    status: 200,
    error: null,
    headSent: true,
    queueMs: 20,
    ownMs: 0.3,
    prefillMs: 200,
    firstTokenMs: 220,
    decodeMs: 400,
    totalMs: 620,
    usage: { promptTokens: 10, completionTokens: 11, cachedTokens: 4 },
    generatedTokens: 11,
    retries: 0,
    continuations: 0,
    trace: null,
    ...request,
  };
}

/** The values of a scrape by their lines, such as `llamero_tokens_total{model="tiny",kind="prompt"}`. */
export function valuesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}
