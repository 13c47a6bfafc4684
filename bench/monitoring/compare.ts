import type { Prometheus } from './prometheus.ts';
import type { Done } from './run-of-events.ts';
import { ABANDONED_TOKENS } from './traffic.ts';

/** One thing that was done, and what Prometheus says of it. */
export interface Comparison {
  readonly what: string;
  readonly done: number;
  readonly shown: number;
  readonly isTrue: boolean;
}

/** A query and the value that it must have, or must not exceed, where it is only known within bounds. */
type Expected = readonly [what: string, query: string, value: number, most?: number];

/** Compares what happened with what has been scraped of it. Counts have to be equal, to the request and to the token. */
export async function compare(prometheus: Pick<Prometheus, 'sum'>, done: Done): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const [what, query, value, most = value] of expectations(done)) {
    const shown = await prometheus.sum(query);
    comparisons.push({ what, done: value, shown, isTrue: shown >= value && shown <= most });
  }
  return comparisons;
}

/** The query that tells when everything has been scraped. */
export function lastToCome({ ledger }: Done): readonly [query: string, value: number] {
  return ['llamero_requests_total', ledger.requests];
}

function expectations({ ledger, kills, plannedRestarts }: Done): Expected[] {
  const crashes = kills.SIGKILL + kills.SIGSEGV;
  return [
    ['requests', 'llamero_requests_total', ledger.requests],
    ['completed', 'llamero_requests_total{outcome="completed"}', ledger.completed],
    ['failed', 'llamero_requests_total{outcome="failed"}', ledger.failed],
    ['cancelled', 'llamero_requests_total{outcome="cancelled"}', ledger.cancelled],
    ['refused by a limit', 'llamero_rate_limit_refusals_total', ledger.rateLimited],
    ['refused by the queue', 'llamero_request_errors_total{code="queue_full"}', ledger.queueFull],
    ['refused without a key', 'llamero_refused_requests_total{code="invalid_api_key"}', ledger.withoutKey],
    ['refused before they entered', 'llamero_refused_requests_total', ledger.withoutKey],
    ['streams that ended whole', 'llamero_stream_ends_total{cause="completed"}', ledger.wholeStreams],
    ['streams whose client left', 'llamero_stream_ends_total{cause="client_gone"}', ledger.cancelled],
    ['streams cut silently', 'llamero_silent_truncations_total', 0],
    ['continuations', 'llamero_stream_continuations_total', ledger.continuations],
    [
      'continued streams that came whole',
      'llamero_continued_streams_total{result="completed"}',
      ledger.continuedStreams,
    ],
    ['prompt tokens', 'llamero_tokens_total{kind=~"prompt|cached"}', ledger.promptTokens],
    // The client that left cannot know how many it had.
    [
      'tokens',
      'llamero_tokens_total{kind="completion"}',
      ledger.completionTokens + 1,
      ledger.completionTokens + ABANDONED_TOKENS,
    ],
    ['crashes of the engine', 'llamero_engine_crashes_total', crashes],
    ['ends by kill -9', 'llamero_engine_exits_total{cause=~"killed.*"}', kills.SIGKILL],
    ['ends by a segmentation fault', 'llamero_engine_exits_total{cause="segmentation_fault"}', kills.SIGSEGV],
    ['planned restarts', 'llamero_engine_replacements_total{ok="true"}', plannedRestarts],
    ['starts of the engine', 'llamero_engine_starts_total', 1 + crashes + plannedRestarts],
    ['crash loops that are alerted', 'ALERTS{alertname="LlameroEngineCrashLoop", alertstate="firing"}', 1],
    ['other alerts', 'ALERTS{alertname!="LlameroEngineCrashLoop", alertstate="firing"}', 0],
  ];
}
