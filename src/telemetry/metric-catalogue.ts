/**
 * Every metric of llamero: the only place where they are named. The registry, the documentation and the tests are made from this table.
 *
 * Names follow the conventions of Prometheus: base units (seconds, bytes), `_total` on counters. Label values come from fixed sets, except
 * `model`, which is capped; never a user, session, address or prompt.
 */

/** One metric. */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** One sentence for the scrape and the documentation. */
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds, of histograms only. */
  readonly buckets?: readonly number[];
}

/** Whole requests: from an answer out of the vocabulary to a long generation on a CPU. */
const DURATION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** Waiting: nothing at all in most cases, up to the limits of queues and prompts. */
const WAIT_BUCKETS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** What a person waits for: 0.25 s is at once, 10 s is lost. Few bounds, because there is one such series for each model. */
const FIRST_TOKEN_BUCKETS = [0.25, 0.5, 1, 2.5, 10, 30];
/** From 200 tokens per second on a GPU to four on a CPU. */
const PER_TOKEN_BUCKETS = [0.005, 0.02, 0.05, 0.1, 0.25];
const OVERHEAD_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1];

/** Metrics of llamero itself, by name. */
export const METRICS = {
  llamero_build_info: gauge('Always 1; the version of llamero and of Node.', ['version', 'node']),

  llamero_requests_total: counter('Requests that have ended. outcome: completed, failed, cancelled.', [
    'route',
    'model',
    'outcome',
  ]),
  llamero_request_errors_total: counter(
    'Failed requests by error code. fault: client (status below 500) or server. Cancelled requests are none.',
    ['code', 'fault'],
  ),
  llamero_refused_requests_total: counter(
    'Requests answered with an error before they entered: no valid key, no such route, no JSON, not HTTP. In no other metric.',
    ['code', 'fault', 'route'],
  ),
  llamero_stream_ends_total: counter(
    'Streams that had begun to answer, by how they ended. cause: completed, client_gone, or the error code that they ended with.',
    ['cause'],
  ),
  llamero_silent_truncations_total: counter(
    'Streams that were ended as complete, but without the end of their dialect. Has to stay 0.',
    [],
  ),

  llamero_request_duration_seconds: histogram('From entering to the end of the request.', ['route'], DURATION_BUCKETS),
  llamero_queue_wait_seconds: histogram('From entering to the first sending to an engine.', [], WAIT_BUCKETS),
  llamero_prefill_seconds: histogram('From sending to the first token of a stream.', [], WAIT_BUCKETS),
  llamero_time_to_first_token_seconds: histogram(
    'From entering to the first token of a stream.',
    ['model'],
    FIRST_TOKEN_BUCKETS,
  ),
  llamero_time_per_output_token_seconds: histogram(
    'Mean time between the tokens of a stream, one value for each stream.',
    ['model'],
    PER_TOKEN_BUCKETS,
  ),
  llamero_overhead_seconds: histogram('What llamero itself took of a request.', [], OVERHEAD_BUCKETS),
  llamero_tokens_total: counter(
    'Tokens. kind: prompt (read by the engine), cached (of prompts, found in a cache), completion.',
    ['model', 'kind'],
  ),

  llamero_requests_in_flight: gauge('Requests between entering and ending, waiting ones included.', []),
  llamero_queue_length: gauge('Requests that wait for a slot. class: interactive, default, batch.', ['class']),
  llamero_queue_limit: gauge('Requests that may wait for a slot at most (maxQueue).', []),
  llamero_waiting_clients: gauge('Clients that have requests waiting.', []),
  llamero_known_clients: gauge('Clients that the fair queue remembers.', []),
  llamero_fairness_gap_tokens: gauge(
    'Largest difference in weighted service between two waiting clients of one class.',
    [],
  ),
  llamero_fairness_bound_tokens: gauge(
    'What the difference in service of two clients that always wait does not exceed.',
    [],
  ),
  llamero_service_tokens_total: counter('Service that the fair queue has given, in weighted tokens.', ['class']),

  llamero_rate_limit_refusals_total: counter('Requests refused by a limit of their client.', ['pool', 'limit']),
  llamero_rate_limited_clients: gauge('Clients whose use of their limits is remembered.', []),
  llamero_rate_limit_store_up: gauge('0 while the store of the rate limits cannot be reached.', []),

  llamero_retries_total: counter('Requests sent once more before their first token.', ['route']),
  llamero_stream_continuations_total: counter(
    'Times that another engine went on with a stream. way: ids, text, replay.',
    ['way'],
  ),
  llamero_continued_streams_total: counter(
    'Streams that went on with another engine at least once, by how they ended. result: completed, failed, cancelled.',
    ['result'],
  ),
  llamero_request_suspects_total: counter(
    'Requests in flight when an engine died of what may have been them. refused: whether they are refused from then on.',
    ['refused'],
  ),
  llamero_memory_ok: gauge('0 while memory is short. of: llamero, engine, machine.', ['of']),
  llamero_memory_limit_bytes: gauge(
    'What llamero itself may have: memoryLimit, or less where its control group has less. From 90 % on requests are refused.',
    [],
  ),
  llamero_request_body_bytes: gauge('Bodies of requests that the gateway holds.', []),
  llamero_request_body_limit_bytes: gauge('Most that it holds of them; beyond, bodies are refused.', []),

  llamero_engine_info: gauge('Always 1; model and build of an engine.', ['engine', 'model', 'build']),
  llamero_engine_up: gauge('1 while the engine takes requests.', ['engine']),
  llamero_engine_state: gauge('1 for the present state of the engine; other states are absent.', ['engine', 'state']),
  llamero_engine_slots: gauge('Requests that the engine can work on at once.', ['engine']),
  llamero_engine_slots_in_use: gauge('Slots in use.', ['engine']),
  llamero_engine_starts_total: counter('Starts of an engine process.', ['engine']),
  llamero_engine_exits_total: counter('Ends of an engine process. cause: see docs/engine.md.', ['engine', 'cause']),
  llamero_engine_crashes_total: counter('Ends of an engine process that nobody asked for.', ['engine']),
  llamero_engine_hangs_total: counter('Engines replaced because they gave no sign of life.', ['engine']),
  llamero_engine_replacements_total: counter('Planned restarts. ok: whether the new engine took over.', [
    'engine',
    'cause',
    'ok',
  ]),
  llamero_engine_start_duration_seconds: gauge('How long the present engine took from spawn to ready.', ['engine']),
  llamero_engine_ready_since_timestamp_seconds: gauge('When the present engine became ready, in seconds since 1970.', [
    'engine',
  ]),
  llamero_engine_memory_bytes: gauge('Anonymous memory and swap of the engine. Linux only.', ['engine']),
  llamero_engine_memory_limit_bytes: gauge('At this much memory the engine is drained and replaced.', ['engine']),
  llamero_engine_memory_growth_bytes_per_request: gauge(
    'Slope of the memory of the present engine over the requests that it has ended. Linux only.',
    ['engine'],
  ),
  llamero_engine_gpu_memory_bytes: gauge('Memory of the engine on GPUs, where nvidia-smi tells it.', ['engine']),
  llamero_circuit_state: gauge('1 for the present state of the circuit breaker; other states are absent.', [
    'engine',
    'state',
  ]),
  llamero_circuit_opened_total: counter('Times that the circuit breaker opened.', ['engine']),
} as const satisfies Record<string, MetricDefinition>;

/** Labels of the conventions that stand on every metric of them. */
const GEN_AI_LABELS = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const;

/**
 * The names of the OpenTelemetry semantic conventions for generative AI, as Prometheus writes them, with the buckets that those
 * conventions recommend. They are in development there, so they are only there when asked for.
 */
export const GEN_AI_METRICS = {
  gen_ai_server_request_duration_seconds: histogram(
    'OpenTelemetry gen_ai.server.request.duration.',
    [...GEN_AI_LABELS, 'error_type'],
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  ),
  gen_ai_server_time_to_first_token_seconds: histogram(
    'OpenTelemetry gen_ai.server.time_to_first_token.',
    GEN_AI_LABELS,
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  ),
  gen_ai_server_time_per_output_token_seconds: histogram(
    'OpenTelemetry gen_ai.server.time_per_output_token.',
    GEN_AI_LABELS,
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  ),
  gen_ai_client_token_usage: histogram(
    'OpenTelemetry gen_ai.client.token.usage. gen_ai_token_type: input, output.',
    [...GEN_AI_LABELS, 'gen_ai_token_type'],
    [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864],
  ),
} as const satisfies Record<string, MetricDefinition>;

/** Of the Node process, made by prom-client under the names that dashboards for Node know. */
export const PROCESS_METRICS = {
  process_cpu_user_seconds_total: counter('CPU time of llamero itself in user mode.', []),
  process_cpu_system_seconds_total: counter('CPU time of llamero itself in the kernel.', []),
  process_cpu_seconds_total: counter('CPU time of llamero itself.', []),
  process_start_time_seconds: gauge('When llamero started, in seconds since 1970.', []),
  process_resident_memory_bytes: gauge('Resident memory of llamero itself.', []),
  process_virtual_memory_bytes: gauge('Virtual memory of llamero itself. Linux only.', []),
  process_heap_bytes: gauge('Data segment of llamero itself. Linux only.', []),
  process_open_fds: gauge('Open file descriptors. Linux only.', []),
  process_max_fds: gauge('Limit of open file descriptors. Linux only.', []),
  nodejs_heap_size_total_bytes: gauge('Size of the heap of V8.', []),
  nodejs_heap_size_used_bytes: gauge('What is used of the heap of V8.', []),
  nodejs_external_memory_bytes: gauge('Memory of buffers and other objects outside of the heap.', []),
  nodejs_gc_duration_seconds: histogram('Pauses for garbage collection.', ['kind'], [0.001, 0.01, 0.1, 1, 2, 5]),
  nodejs_eventloop_lag_seconds: gauge('Delay of the event loop at the time of the scrape.', []),
  nodejs_eventloop_lag_min_seconds: gauge('Least delay of the event loop since the last scrape.', []),
  nodejs_eventloop_lag_max_seconds: gauge('Largest delay of the event loop since the last scrape.', []),
  nodejs_eventloop_lag_mean_seconds: gauge('Mean delay of the event loop since the last scrape.', []),
  nodejs_eventloop_lag_stddev_seconds: gauge('Standard deviation of the delay since the last scrape.', []),
  nodejs_eventloop_lag_p50_seconds: gauge('Median of the delay since the last scrape.', []),
  nodejs_eventloop_lag_p90_seconds: gauge('90th percentile of the delay since the last scrape.', []),
  nodejs_eventloop_lag_p99_seconds: gauge('99th percentile of the delay since the last scrape.', []),
} as const satisfies Record<string, MetricDefinition>;

/** Names of the metrics of llamero itself. */
export type MetricName = keyof typeof METRICS;
/** Names of the metrics of the OpenTelemetry conventions. */
export type GenAiMetricName = keyof typeof GEN_AI_METRICS;

function counter<const Labels extends readonly string[]>(help: string, labels: Labels) {
  return { type: 'counter', help, labels } as const;
}

function gauge<const Labels extends readonly string[]>(help: string, labels: Labels) {
  return { type: 'gauge', help, labels } as const;
}

function histogram<const Labels extends readonly string[]>(help: string, labels: Labels, buckets: readonly number[]) {
  return { type: 'histogram', help, labels, buckets } as const;
}
