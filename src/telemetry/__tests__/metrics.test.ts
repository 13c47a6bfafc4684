import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { ERROR_CODES, type ErrorCode, LlameroError } from '../../core/errors.ts';
import type { LlameroEmitter, LlameroEvents } from '../../core/events.ts';
import { GEN_AI_METRICS, METRICS, PROCESS_METRICS } from '../metric-catalogue.ts';
import { createMetrics, MOST_MODELS } from '../metrics.ts';
import { observedProvider, settledRequest, valuesOf } from './observed-provider.ts';

const DEADLINE = { timeout: 20_000 };

/** What a scrape shows after these requests. */
async function scraped(...requests: Parameters<typeof settledRequest>[0][]): Promise<Map<string, number>> {
  const provider = observedProvider();
  using metrics = createMetrics(provider, { process: false });
  for (const request of requests) provider.events.publish('settled', settledRequest(request));
  return valuesOf(await metrics.text());
}

describe('metrics of a request', DEADLINE, () => {
  it('tell its route, model, outcome, times and tokens', async () => {
    const values = await scraped({});
    const bucket = (name: string, le: string, labels = '') => values.get(`${name}_bucket{le="${le}"${labels}}`);
    assert.equal(values.get('llamero_requests_total{route="chat.completions",model="tiny",outcome="completed"}'), 1);
    assert.equal(values.get('llamero_stream_ends_total{cause="completed"}'), 1);
    assert.equal(values.get('llamero_request_duration_seconds_sum{route="chat.completions"}'), 0.62);
    assert.equal(values.get('llamero_queue_wait_seconds_sum'), 0.02);
    assert.equal(values.get('llamero_prefill_seconds_sum'), 0.2);
    assert.equal(values.get('llamero_overhead_seconds_sum'), 0.0003);
    assert.equal(values.get('llamero_time_to_first_token_seconds_sum{model="tiny"}'), 0.22);
    // Eleven tokens have ten times between them.
    assert.equal(values.get('llamero_time_per_output_token_seconds_sum{model="tiny"}'), 0.04);
    assert.equal(bucket('llamero_time_to_first_token_seconds', '0.25', ',model="tiny"'), 1);
    assert.equal(bucket('llamero_time_to_first_token_seconds', '+Inf', ',model="tiny"'), 1);
    assert.equal(values.get('llamero_tokens_total{model="tiny",kind="prompt"}'), 6);
    assert.equal(values.get('llamero_tokens_total{model="tiny",kind="cached"}'), 4);
    assert.equal(values.get('llamero_tokens_total{model="tiny",kind="completion"}'), 11);
  });

  it('tell why it failed, and whose fault that is', async () => {
    const refused = new LlameroError('rate_limit_exceeded', 'm', { details: { pool: 'user', limit: 'tokensPerDay' } });
    const broken = new LlameroError('stream_interrupted', 'm');
    const left = new LlameroError('cancelled', 'm');
    const unsent = {
      model: null,
      prefillMs: null,
      firstTokenMs: null,
      decodeMs: null,
      usage: null,
      generatedTokens: 0,
    };
    const values = await scraped(
      { ...unsent, outcome: 'failed', error: refused, headSent: false },
      { outcome: 'failed', error: broken, usage: null, generatedTokens: 3, continuations: 1 },
      { outcome: 'cancelled', error: left, usage: null, generatedTokens: 2 },
      { continuations: 2 },
    );
    const expected = {
      'llamero_requests_total{route="chat.completions",model="none",outcome="failed"}': 1,
      'llamero_requests_total{route="chat.completions",model="tiny",outcome="failed"}': 1,
      'llamero_requests_total{route="chat.completions",model="tiny",outcome="cancelled"}': 1,
      'llamero_request_errors_total{code="rate_limit_exceeded",fault="client"}': 1,
      'llamero_request_errors_total{code="stream_interrupted",fault="server"}': 1,
      'llamero_request_errors_total{code="queue_full",fault="server"}': 0,
      'llamero_rate_limit_refusals_total{pool="user",limit="tokensPerDay"}': 1,
      'llamero_stream_ends_total{cause="completed"}': 1,
      'llamero_stream_ends_total{cause="stream_interrupted"}': 1,
      'llamero_stream_ends_total{cause="client_gone"}': 1,
      'llamero_stream_ends_total{cause="rate_limit_exceeded"}': undefined,
      'llamero_continued_streams_total{result="failed"}': 1,
      'llamero_continued_streams_total{result="completed"}': 1,
      'llamero_tokens_total{model="tiny",kind="completion"}': 16,
      llamero_silent_truncations_total: 0,
    };
    for (const [line, value] of Object.entries(expected)) assert.equal(values.get(line), value, line);
    assert.ok(![...values.keys()].some((line) => line.includes('code="cancelled"')), 'a cancelled request is no error');
  });

  it('keep models apart up to a limit, and what they are called short', async () => {
    const named = Array.from({ length: MOST_MODELS + 5 }, (_, index) => ({ model: `model-${index}` }));
    const values = await scraped(...named, { model: 'm'.repeat(500) }, { model: 'model-1' });
    const requests = [...values].filter(([line]) => line.startsWith('llamero_requests_total'));
    assert.equal(requests.length, MOST_MODELS + 1);
    const of = (model: string) =>
      values.get(`llamero_requests_total{route="chat.completions",model="${model}",outcome="completed"}`);
    assert.deepEqual([of('model-1'), of('model-49'), of('other')], [2, 1, 6]);
  });

  it('have the names of OpenTelemetry when asked for', async () => {
    const provider = observedProvider();
    using metrics = createMetrics(provider, { genAi: true, process: false });
    provider.events.publish('settled', settledRequest());
    provider.events.publish('settled', settledRequest({ route: 'embeddings', stream: false, firstTokenMs: null }));
    provider.events.publish('settled', settledRequest({ route: 'tokenize' }));
    const failed = { outcome: 'failed', error: new LlameroError('engine_error', 'm') } as const;
    provider.events.publish('settled', settledRequest(failed));
    const values = valuesOf(await metrics.text());
    const common = 'gen_ai_provider_name="llama_cpp",gen_ai_request_model="tiny"';
    const chat = `gen_ai_operation_name="chat",${common}`;
    const expected = {
      [`gen_ai_server_request_duration_seconds_count{${chat}}`]: 1,
      [`gen_ai_server_request_duration_seconds_count{${chat},error_type="engine_error"}`]: 1,
      [`gen_ai_server_request_duration_seconds_count{gen_ai_operation_name="embeddings",${common}}`]: 1,
      [`gen_ai_server_time_to_first_token_seconds_sum{${chat}}`]: 0.22,
      [`gen_ai_server_time_per_output_token_seconds_sum{${chat}}`]: 0.04,
      [`gen_ai_client_token_usage_sum{${chat},gen_ai_token_type="input"}`]: 10,
      [`gen_ai_client_token_usage_sum{${chat},gen_ai_token_type="output"}`]: 11,
    };
    for (const [line, value] of Object.entries(expected)) assert.equal(values.get(line), value, line);
    assert.equal([...values.keys()].filter((line) => /^gen_ai_server_request_duration\w+_count/.test(line)).length, 3);
    using plain = createMetrics(provider, { process: false });
    assert.doesNotMatch(await plain.text(), /gen_ai/);
  });
});

/** Each event that is counted, and the line that it moves. */
const COUNTED: readonly { name: keyof LlameroEvents; payload: object; line: string; value?: number }[] = [
  { name: 'retry', payload: { route: 'completion' }, line: 'llamero_retries_total{route="completion"}' },
  { name: 'stream-continued', payload: { way: 'ids' }, line: 'llamero_stream_continuations_total{way="ids"}' },
  { name: 'stream-truncated', payload: {}, line: 'llamero_silent_truncations_total' },
  { name: 'request-suspect', payload: { refused: true }, line: 'llamero_request_suspects_total{refused="true"}' },
  { name: 'rate-limit-store', payload: { ok: false }, line: 'llamero_rate_limit_store_up', value: 0 },
  { name: 'memory', payload: { of: 'machine', ok: false }, line: 'llamero_memory_ok{of="machine"}', value: 0 },
  { name: 'circuit', payload: { to: 'open' }, line: 'llamero_circuit_opened_total{engine="1"}' },
  { name: 'circuit', payload: { to: 'closed' }, line: 'llamero_circuit_opened_total{engine="1"}', value: 0 },
  { name: 'engine-start', payload: {}, line: 'llamero_engine_starts_total{engine="1"}' },
  { name: 'engine-hang', payload: {}, line: 'llamero_engine_hangs_total{engine="1"}' },
  {
    name: 'engine-replacement',
    payload: { cause: 'memory_limit', ok: true },
    line: 'llamero_engine_replacements_total{engine="1",cause="memory_limit",ok="true"}',
  },
  {
    name: 'engine-exit',
    payload: { cause: 'killed', expected: false },
    line: 'llamero_engine_exits_total{engine="1",cause="killed"}',
  },
  {
    name: 'engine-exit',
    payload: { cause: 'killed', expected: false },
    line: 'llamero_engine_crashes_total{engine="1"}',
  },
  {
    name: 'request-refused',
    payload: { route: 'completions', error: new LlameroError('invalid_api_key', 'm') },
    line: 'llamero_refused_requests_total{code="invalid_api_key",fault="client",route="completions"}',
  },
  {
    name: 'request-refused',
    payload: { route: 'none', error: new LlameroError('memory_pressure', 'm') },
    line: 'llamero_refused_requests_total{code="memory_pressure",fault="server",route="none"}',
  },
  {
    name: 'engine-exit',
    payload: { cause: 'stopped', expected: true },
    line: 'llamero_engine_crashes_total{engine="1"}',
    value: 0,
  },
];

describe('metrics of events and states', DEADLINE, () => {
  for (const { name, payload, line, value = 1 } of COUNTED) {
    it(`${name} moves ${line}`, async () => {
      const provider = observedProvider();
      using metrics = createMetrics(provider, { process: false });
      (provider.events as NodeJS.EventEmitter).emit(name, payload);
      assert.equal(valuesOf(await metrics.text()).get(line), value);
    });
  }

  it('read the status of each engine, and add up what is shared', async () => {
    const fairness = { gap: 12, bound: 4096, waitingClients: 2, knownClients: 3 };
    const classes = [{ name: 'batch', waiting: 2, service: 100 }];
    const memory = { usedBytes: 1000, limitBytes: 4000, growthBytesPerRequest: 2.5, gpuBytes: null };
    const busy = { inFlight: 3, slotsInUse: 2, limitedClients: 5, fairness: { ...fairness, classes }, memory };
    const limits = { maxQueue: 75, memoryLimitBytes: 800 };
    using metrics = createMetrics(observedProvider({ ...busy, ...limits }), { process: false, version: '9.8.7' });
    const hide = metrics.showBodies({ heldBodiesBytes: 1, heldBodiesLimitBytes: 10 });
    metrics.showBodies({ heldBodiesBytes: 3, heldBodiesLimitBytes: 40 });
    hide();
    metrics.add(
      observedProvider({
        ...busy,
        ...limits,
        memoryLimitBytes: 700,
        state: 'crashed',
        facts: null,
        memory: null,
        circuit: 'open',
      }),
      'second',
    );
    const values = valuesOf(await metrics.text());
    const expected = {
      [`llamero_build_info{version="9.8.7",node="${process.version}"}`]: 1,
      llamero_queue_limit: 150,
      llamero_memory_limit_bytes: 700,
      llamero_request_body_bytes: 3,
      llamero_request_body_limit_bytes: 40,
      llamero_requests_in_flight: 6,
      'llamero_queue_length{class="batch"}': 4,
      'llamero_service_tokens_total{class="batch"}': 200,
      llamero_waiting_clients: 4,
      llamero_known_clients: 6,
      llamero_rate_limited_clients: 10,
      llamero_fairness_gap_tokens: 12,
      llamero_fairness_bound_tokens: 4096,
      'llamero_engine_info{engine="1",model="tiny",build="b1-abc"}': 1,
      'llamero_engine_info{engine="second",model="",build=""}': undefined,
      'llamero_engine_up{engine="1"}': 1,
      'llamero_engine_up{engine="second"}': 0,
      'llamero_engine_state{engine="1",state="ready"}': 1,
      'llamero_engine_state{engine="second",state="crashed"}': 1,
      'llamero_engine_slots{engine="1"}': 4,
      'llamero_engine_slots_in_use{engine="second"}': 2,
      'llamero_engine_start_duration_seconds{engine="1"}': 1.5,
      'llamero_engine_ready_since_timestamp_seconds{engine="1"}': 1_764_000_000,
      'llamero_engine_memory_bytes{engine="1"}': 1000,
      'llamero_engine_memory_limit_bytes{engine="1"}': 4000,
      'llamero_engine_memory_growth_bytes_per_request{engine="1"}': 2.5,
      'llamero_engine_memory_bytes{engine="second"}': undefined,
      'llamero_engine_gpu_memory_bytes{engine="1"}': undefined,
      'llamero_circuit_state{engine="1",state="closed"}': 1,
      'llamero_circuit_state{engine="second",state="open"}': 1,
    };
    for (const [line, value] of Object.entries(expected)) assert.equal(values.get(line), value, line);
  });

  it('never show a counter that went down', async () => {
    const status = { service: 500 };
    const source = observedProvider();
    const fairness = () => ({
      gap: 0,
      bound: 0,
      waitingClients: 0,
      knownClients: 0,
      classes: [{ name: 'default', waiting: 0, ...status }],
    });
    using metrics = createMetrics({
      events: source.events,
      status: () => ({ ...source.status(), fairness: fairness() }),
    });
    await metrics.text();
    status.service = 450;
    assert.equal(valuesOf(await metrics.text()).get('llamero_service_tokens_total{class="default"}'), 500);
  });

  it('stop listening when they are stopped, and keep what they have', async () => {
    const provider = observedProvider();
    const metrics = createMetrics(provider, { process: false });
    provider.events.publish('settled', settledRequest());
    metrics.stop();
    metrics.stop();
    assert.deepEqual(provider.events.eventNames(), []);
    assert.equal(valuesOf(await metrics.text()).get('llamero_stream_ends_total{cause="completed"}'), 1);
  });
});

describe('the text of a scrape', DEADLINE, () => {
  it('has all names of the catalogue and no others, process included, and is what Prometheus reads', async () => {
    const text = await (async () => {
      using metrics = createMetrics(observedProvider(), { genAi: true });
      return metrics.text();
    })();
    const names = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
    const catalogue = Object.entries({ ...METRICS, ...GEN_AI_METRICS, ...PROCESS_METRICS });
    // What a process cannot know elsewhere than on Linux is not there.
    const optional = /^process_(virtual|heap|open_fds|max_fds)/;
    const fitting = catalogue.map(([name, { type }]) => `${name} ${type}`);
    assert.deepEqual(
      names.filter((name) => !fitting.includes(name)),
      [],
    );
    assert.deepEqual(
      fitting.filter((name) => !names.includes(name) && !optional.test(name)),
      [],
    );
    assert.match(text, /^process_resident_memory_bytes \d+$/m);
    const promtool = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    if (promtool.error === undefined) assert.equal(promtool.status, 0, promtool.stderr + promtool.stdout);
  });

  it('of fifty engines after a day stays below 200 KB', async () => {
    using metrics = createMetrics(undefined, { version: '0.1.0' });
    for (let engine = 0; engine < 50; engine += 1)
      moveAll(metrics, `llama-3.${engine}-8b-instruct-q4_k_m`, engine === 0);
    const bytes = Buffer.byteLength(await metrics.text());
    assert.ok(bytes < 200_000, `${bytes} bytes`);
    assert.ok(bytes > 150_000, `${bytes} bytes: the day was not a busy one`);
  });
});

const ROUTES =
  `chat.completions completions responses messages messages.count_tokens embeddings completion infill embedding rerank
tokenize detokenize apply-template models props slots`.split(/\s+/);

/** A day of one engine: chats with all three outcomes, embeddings, a crash; one engine sees every route and every error. */
function moveAll(metrics: ReturnType<typeof createMetrics>, model: string, everything: boolean): void {
  const memory = { usedBytes: 2_147_483_648, limitBytes: 8_589_934_592, growthBytesPerRequest: 153.25, gpuBytes: 2e9 };
  const classes = ['interactive', 'default', 'batch'].map((name) => ({ name, waiting: 3, service: 1_234_567.5 }));
  const fairness = { gap: 1234.5, bound: 16_384, waitingClients: 9, knownClients: 120, classes };
  const facts = { model, slots: 8, build: 'b9999-de3ff81' };
  const provider = observedProvider({ facts, memory, fairness, inFlight: 7, startMs: 2153.25 });
  metrics.add(provider);
  const settle = (request: Parameters<typeof settledRequest>[0]) =>
    provider.events.publish('settled', settledRequest({ model, ...request }));
  const usage = { promptTokens: 1_234_567, completionTokens: 7_654_321, cachedTokens: 234_567 };
  for (const totalMs of [40, 700, 9000, 45_000]) {
    for (const route of everything ? ROUTES : ['chat.completions', 'embeddings']) {
      settle({ route, totalMs, firstTokenMs: totalMs / 4, decodeMs: totalMs / 2, usage });
    }
  }
  settle({ outcome: 'cancelled', error: new LlameroError('cancelled', 'm') });
  const codes = everything ? (Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]) : (['engine_error'] as const);
  for (const code of codes) settle({ outcome: 'failed', error: new LlameroError(code, 'm') });
  if (everything) refuseMany(provider.events);
  crash(provider.events);
}

/** What a gateway refuses: clients without a key and without JSON everywhere, the rest here and there. */
function refuseMany(events: LlameroEmitter): void {
  const refuse = (code: ErrorCode, route: string) =>
    events.publish('request-refused', { id: 'r', route, error: new LlameroError(code, 'm') });
  for (const route of ROUTES) {
    refuse('invalid_api_key', route);
    refuse('invalid_request', route);
  }
  for (const code of ['invalid_request', 'invalid_api_key', 'not_found', 'request_timeout'] as const)
    refuse(code, 'none');
  for (const code of ['request_too_large', 'memory_pressure', 'engine_unavailable'] as const)
    refuse(code, ROUTES[0] ?? '');
}

function crash(events: LlameroEmitter): void {
  const untyped = events as NodeJS.EventEmitter;
  untyped.emit('engine-start', {});
  untyped.emit('engine-exit', { cause: 'segmentation_fault', expected: false });
  untyped.emit('engine-exit', { cause: 'stopped', expected: true });
  untyped.emit('circuit', { to: 'open' });
  untyped.emit('circuit', { to: 'closed' });
}
