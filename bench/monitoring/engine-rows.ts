import { RATE, rates, type Row } from './panel.ts';

/** What is behind it: engines, streams that lost theirs, limits, and llamero's own process. */
export const ENGINE_ROWS: readonly Row[] = [
  {
    title: 'Engines',
    panels: [
      {
        title: 'State',
        description: 'The state that each engine is in.',
        unit: 'count',
        as: 'stack',
        queries: [['sum by (engine, state) (llamero_engine_state{@})', '{{engine}} {{state}}']],
      },
      {
        title: 'Starts, crashes, hangs',
        description: 'Each start behind the first one follows a crash, a hang, or a planned restart.',
        unit: 'count',
        queries: [
          [`round(sum by (engine) (increase(llamero_engine_starts_total{@}[${RATE}])))`, '{{engine}} starts'],
          [`round(sum by (engine) (increase(llamero_engine_crashes_total{@}[${RATE}])))`, '{{engine}} crashes'],
          [`round(sum by (engine) (increase(llamero_engine_hangs_total{@}[${RATE}])))`, '{{engine}} hangs'],
        ],
      },
      {
        title: 'Ends by cause',
        description: 'Since llamero started. What the causes mean is told in docs/engine.md.',
        unit: 'count',
        queries: [['sum by (engine, cause) (llamero_engine_exits_total{@})', '{{engine}} {{cause}}']],
      },
      {
        title: 'Planned restarts',
        description: 'Since llamero started. ok=false: the new engine could not start, and the old one went on.',
        unit: 'count',
        queries: [
          ['sum by (engine, cause, ok) (llamero_engine_replacements_total{@})', '{{engine}} {{cause}} ok={{ok}}'],
        ],
      },
      {
        title: 'Memory of engines',
        description: 'Anonymous memory and swap; at the limit the engine is replaced. Linux only.',
        unit: 'bytes',
        queries: [
          ['llamero_engine_memory_bytes{@}', '{{instance}} {{engine}}'],
          ['llamero_engine_memory_limit_bytes{@}', '{{instance}} {{engine}} limit'],
        ],
      },
      {
        title: 'Growth with each request',
        description: 'A cache that fills up grows for a while; what grows for ever is a leak. Linux only.',
        unit: 'bytes',
        queries: [['llamero_engine_memory_growth_bytes_per_request{@}', '{{instance}} {{engine}}']],
      },
      {
        title: 'GPU memory of engines',
        description: 'Where nvidia-smi tells it.',
        unit: 'bytes',
        queries: [['llamero_engine_gpu_memory_bytes{@}', '{{instance}} {{engine}}']],
      },
      {
        title: 'Time since ready',
        description: 'Falls to nothing when an engine is started anew.',
        unit: 's',
        queries: [['time() - llamero_engine_ready_since_timestamp_seconds{@}', '{{instance}} {{engine}}']],
      },
      {
        title: 'Time to start',
        description: 'From spawn to ready, of the present engine: as long as clients wait after a crash.',
        unit: 's',
        queries: [['llamero_engine_start_duration_seconds{@}', '{{instance}} {{engine}}']],
      },
      {
        title: 'Circuit breaker',
        description: 'Open: requests are held off, because the engine fails them.',
        unit: 'count',
        as: 'stack',
        queries: [['sum by (engine, state) (llamero_circuit_state{@})', '{{engine}} {{state}}']],
      },
    ],
  },
  {
    title: 'Streams and retries',
    panels: [
      {
        title: 'Ends of streams',
        description: 'Of streams that had begun to answer. Each but completed and client_gone ended in an error event.',
        unit: 'reqps',
        as: 'stack',
        queries: [rates('llamero_stream_ends_total', 'cause')],
      },
      {
        title: 'Continuations',
        description: 'Times that another engine went on with a stream, since llamero started.',
        unit: 'count',
        queries: [['sum by (way) (llamero_stream_continuations_total{@})', '{{way}}']],
      },
      {
        title: 'Continued streams',
        description: 'How streams ended that went on with another engine, since llamero started.',
        unit: 'count',
        queries: [['sum by (result) (llamero_continued_streams_total{@})', '{{result}}']],
      },
      {
        title: 'Retries',
        description: 'Requests sent once more before their first token, since llamero started.',
        unit: 'count',
        queries: [['sum by (route) (llamero_retries_total{@})', '{{route}}']],
      },
      {
        title: 'Suspects',
        description:
          'Requests that were there when an engine died of what may have been them; refused: it was the second time.',
        unit: 'count',
        queries: [['sum by (refused) (llamero_request_suspects_total{@})', 'refused={{refused}}']],
      },
    ],
  },
  {
    title: 'Rate limits',
    panels: [
      {
        title: 'Refusals',
        description: 'Requests refused by a limit of their client, since llamero started.',
        unit: 'count',
        queries: [['sum by (pool, limit) (llamero_rate_limit_refusals_total{@})', '{{pool}} {{limit}}']],
      },
      {
        title: 'Clients with limits',
        description: 'Clients whose use of their limits is remembered.',
        unit: 'count',
        queries: [['sum(llamero_rate_limited_clients{@})', 'clients']],
      },
      {
        title: 'Store',
        description: '0 while the store of the rate limits cannot be reached.',
        unit: 'count',
        queries: [['min by (instance) (llamero_rate_limit_store_up{@})', '{{instance}}']],
      },
    ],
  },
  {
    title: 'llamero itself',
    panels: [
      {
        title: 'CPU',
        description: 'Cores in use; Node uses little more than one.',
        unit: 'short',
        as: 'stack',
        queries: [
          [`sum by (instance) (rate(process_cpu_user_seconds_total{@}[${RATE}]))`, '{{instance}} user'],
          [`sum by (instance) (rate(process_cpu_system_seconds_total{@}[${RATE}]))`, '{{instance}} system'],
        ],
      },
      {
        title: 'Memory',
        description: 'From nine tenths of its limit on new requests are refused.',
        unit: 'bytes',
        queries: [
          ['llamero_memory_limit_bytes{@}', '{{instance}} limit'],
          ['process_resident_memory_bytes{@}', '{{instance}} resident'],
          ['nodejs_heap_size_used_bytes{@}', '{{instance}} heap'],
          ['nodejs_external_memory_bytes{@}', '{{instance}} external'],
        ],
      },
      {
        title: 'Limits in use',
        description: 'Parts of what there may be. Above four fifths for some minutes there is an alert.',
        unit: 'percentunit',
        queries: [
          ['max(process_resident_memory_bytes{@} / on (job, instance) llamero_memory_limit_bytes{@})', 'memory'],
          [
            'max(sum by (job, instance) (llamero_queue_length{@}) / on (job, instance) llamero_queue_limit{@})',
            'places of the queue',
          ],
          ['max(llamero_request_body_bytes{@} / llamero_request_body_limit_bytes{@})', 'bodies of requests'],
        ],
      },
      {
        title: 'Memory that is short',
        description: '0 while it is: of llamero itself, of the engine, of the machine.',
        unit: 'count',
        queries: [['min by (of) (llamero_memory_ok{@})', '{{of}}']],
      },
      {
        title: 'Delay of the event loop',
        description:
          'Every token waits for it. 0.02 s are the interval at which it is measured; below 0.1 s nobody notices.',
        unit: 's',
        queries: [
          ['nodejs_eventloop_lag_p50_seconds{@}', '{{instance}} p50'],
          ['nodejs_eventloop_lag_p99_seconds{@}', '{{instance}} p99'],
          ['nodejs_eventloop_lag_max_seconds{@}', '{{instance}} longest'],
        ],
      },
      {
        title: 'Garbage collection',
        description: 'Part of the time that is spent on it.',
        unit: 'percentunit',
        as: 'stack',
        queries: [rates('nodejs_gc_duration_seconds_sum', 'kind')],
      },
      {
        title: 'File descriptors',
        description: 'Two for each request in flight, about. Linux only.',
        unit: 'count',
        queries: [
          ['process_open_fds{@}', '{{instance}} open'],
          ['process_max_fds{@}', '{{instance}} limit'],
        ],
      },
      {
        title: 'Time since start',
        description: 'Falls to nothing when llamero is started anew.',
        unit: 's',
        queries: [['time() - process_start_time_seconds{@}', '{{instance}}']],
      },
    ],
  },
];
