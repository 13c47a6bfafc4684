import { quantileBy, quantiles, RATE, rates, type Row } from './panel.ts';

/** What the callers notice: requests, their times and tokens, and the waiting for slots. */
export const REQUEST_ROWS: readonly Row[] = [
  {
    title: 'At a glance',
    panels: [
      {
        title: 'Alerts',
        description: 'Alerts of llamero that fire now. A dash: the rules are not loaded.',
        unit: 'count',
        as: 'value',
        redFrom: 1,
        queries: [
          [
            'count(ALERTS{alertname=~"Llamero.*", alertstate="firing"}) or 0 * count(instance:llamero_request_errors:ratio_rate5m)',
            'firing',
          ],
        ],
      },
      {
        title: 'Gateways down',
        description: 'Gateways that Prometheus cannot scrape. What is not scraped has a dash in the other values.',
        unit: 'count',
        as: 'value',
        redFrom: 1,
        queries: [['count(up{@}) - sum(up{@})', 'down']],
      },
      {
        title: 'Requests',
        description: 'Requests that ended, per second.',
        unit: 'reqps',
        as: 'value',
        queries: [[`sum(rate(llamero_requests_total{@}[${RATE}]))`, 'requests']],
      },
      {
        title: 'Failed',
        description: 'Of all requests, those that failed through no fault of their callers.',
        unit: 'percentunit',
        as: 'value',
        redFrom: 0.05,
        queries: [
          [
            `sum(rate({__name__=~"llamero_request_errors_total|llamero_refused_requests_total", @, fault="server"}[${RATE}])) / sum(rate({__name__=~"llamero_requests_total|llamero_refused_requests_total", @, fault!="client"}[${RATE}]))`,
            'failed',
          ],
        ],
      },
      {
        title: 'First token, p95',
        description: 'What all but one in twenty streams wait at most.',
        unit: 's',
        as: 'value',
        redFrom: 10,
        queries: quantiles('llamero_time_to_first_token_seconds', 95),
      },
      {
        title: 'Engines not ready',
        description: 'Engines that take no requests at this moment.',
        unit: 'count',
        as: 'value',
        redFrom: 1,
        queries: [['count(llamero_engine_up{@}) - sum(llamero_engine_up{@})', 'not ready']],
      },
      {
        title: 'Crashes',
        description: 'Ends of engines that nobody asked for, in the time that is shown.',
        unit: 'count',
        as: 'value',
        redFrom: 1,
        queries: [['round(sum(increase(llamero_engine_crashes_total{@}[$__range])))', 'crashes']],
      },
      {
        title: 'Silently cut streams',
        description: 'Has to be 0: anything else is a defect of llamero.',
        unit: 'count',
        as: 'value',
        redFrom: 1,
        queries: [['sum(llamero_silent_truncations_total{@})', 'cut']],
      },
    ],
  },
  {
    title: 'Traffic',
    panels: [
      {
        title: 'Requests by outcome',
        description:
          'Refused requests count as failed, those whose caller went away as cancelled. A rate does not see the very first request of its kind.',
        unit: 'reqps',
        as: 'stack',
        queries: [
          [`sum by (outcome) (rate(llamero_requests_total{@, outcome!="failed"}[${RATE}]))`, '{{outcome}}'],
          // Each code is there from the beginning, so that the first failure shows.
          [`sum(rate(llamero_request_errors_total{@}[${RATE}]))`, 'failed'],
        ],
      },
      {
        title: 'Requests by route',
        description: 'What llamero is used for.',
        unit: 'reqps',
        as: 'stack',
        queries: [rates('llamero_requests_total', 'route')],
      },
      {
        title: 'Failures by code',
        description: 'What the codes mean is told in docs/gateway.md.',
        unit: 'reqps',
        as: 'stack',
        queries: [
          [`sum by (code, fault) (rate(llamero_request_errors_total{@}[${RATE}])) > 0`, '{{code}} ({{fault}})'],
        ],
      },
      {
        title: 'Refused before they entered',
        description:
          'No valid key, no such route, no JSON, not HTTP: since llamero started. They are in no other panel but Failed, and there only those that are no fault of their callers.',
        unit: 'count',
        queries: [
          ['sum by (code, fault, route) (llamero_refused_requests_total{@})', '{{code}} ({{fault}}) {{route}}'],
        ],
      },
    ],
  },
  {
    title: 'Latency',
    panels: [
      {
        title: 'Time to first token',
        description: 'From the request to the first token of its stream: waiting, prompt and all.',
        unit: 's',
        queries: quantiles('llamero_time_to_first_token_seconds', 50, 95, 99),
      },
      {
        title: 'Time to first token by model',
        description: 'The same, for each model.',
        unit: 's',
        queries: [quantileBy('llamero_time_to_first_token_seconds', 95, 'model')],
      },
      {
        title: 'Time per output token',
        description: 'Between two tokens of a stream. A reader keeps up with 0.1 s.',
        unit: 's',
        queries: quantiles('llamero_time_per_output_token_seconds', 50, 95),
      },
      {
        title: 'Waiting for an engine',
        description:
          'From the request to its first sending to an engine. Long: too few slots for the load, or no engine.',
        unit: 's',
        queries: quantiles('llamero_queue_wait_seconds', 50, 95, 99),
      },
      {
        title: 'Prefill',
        description: 'From the sending to the first token: the engine reads the prompt.',
        unit: 's',
        queries: quantiles('llamero_prefill_seconds', 50, 95),
      },
      {
        title: 'Whole requests by route',
        description: 'From the request to the end of its answer.',
        unit: 's',
        queries: [quantileBy('llamero_request_duration_seconds', 95, 'route')],
      },
      {
        title: 'Added by llamero',
        description: 'What llamero itself takes of a request before it is sent.',
        unit: 's',
        queries: quantiles('llamero_overhead_seconds', 50, 99),
      },
    ],
  },
  {
    title: 'Tokens',
    panels: [
      {
        title: 'Tokens',
        description: 'Prompt: read by the engine. Cached: of prompts, but found in its cache. Completion: generated.',
        unit: 'short',
        queries: [rates('llamero_tokens_total', 'kind')],
      },
      {
        title: 'Generated tokens by model',
        description: 'Completion tokens per second.',
        unit: 'short',
        as: 'stack',
        queries: [
          [`sum by (model) (rate(llamero_tokens_total{@, kind="completion", model!="none"}[${RATE}]))`, '{{model}}'],
        ],
      },
      {
        title: 'Prompts found in the cache',
        description: 'Part of the prompt tokens that no engine had to read again.',
        unit: 'percentunit',
        queries: [
          [
            `sum(rate(llamero_tokens_total{@, kind="cached"}[${RATE}])) / sum(rate(llamero_tokens_total{@, kind=~"prompt|cached"}[${RATE}]))`,
            'cached',
          ],
        ],
      },
    ],
  },
  {
    title: 'Slots, queue, fairness',
    panels: [
      {
        title: 'Slots',
        description: 'All in use for long: the engine is at its limit, and the queue grows.',
        unit: 'count',
        queries: [
          ['sum by (engine) (llamero_engine_slots_in_use{@})', 'in use, engine {{engine}}'],
          ['sum by (engine) (llamero_engine_slots{@})', 'of engine {{engine}}'],
        ],
      },
      {
        title: 'Requests present',
        description: 'In flight: entered and not yet ended. The rest wait for a slot, by class.',
        unit: 'count',
        queries: [
          ['sum(llamero_requests_in_flight{@})', 'in flight'],
          ['sum by (class) (llamero_queue_length{@})', 'waiting, {{class}}'],
          ['sum(llamero_queue_limit{@})', 'that may wait'],
        ],
      },
      {
        title: 'Clients',
        description: 'Clients that have requests waiting, and those that the queue remembers.',
        unit: 'count',
        queries: [
          ['sum(llamero_waiting_clients{@})', 'waiting'],
          ['sum(llamero_known_clients{@})', 'known'],
        ],
      },
      {
        title: 'Fairness',
        description:
          'Difference in service between waiting clients, and what it does not exceed for those that always wait.',
        unit: 'short',
        queries: [
          ['max(llamero_fairness_gap_tokens{@})', 'gap'],
          ['max(llamero_fairness_bound_tokens{@})', 'bound'],
        ],
      },
      {
        title: 'Service by class',
        description: 'Weighted tokens per second that each priority class gets.',
        unit: 'short',
        as: 'stack',
        queries: [rates('llamero_service_tokens_total', 'class')],
      },
    ],
  },
];
