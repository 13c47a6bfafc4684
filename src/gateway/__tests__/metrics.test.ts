import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConfigInput, parseConfig } from '../../core/config.ts';
import type { LlameroEvents } from '../../core/events.ts';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { valuesOf } from '../../telemetry/__tests__/observed-provider.ts';
import { createGateway } from '../gateway.ts';
import { addApiKey } from '../key-store.ts';
import { ScriptedBackend } from './scripted-backend.ts';
import { modelFolder, StreamReader } from './served-engine.ts';

const CHAT = '/v1/chat/completions';
const HELLO = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 12, temperature: 0 };

/** A gateway in front of a real engine that counts as well. */
async function serveCounting(config: ConfigInput) {
  const provider = new LlamaCppProvider({
    ...config,
    engine: { ctxSize: 2048, parallel: 2, ...config.engine, args: ['--threads', '1', '--metrics'] },
    gateway: { port: 'auto', trustedProxies: ['127.0.0.1'] },
  });
  let socketPath = '';
  provider.on('engine-start', ({ args }) => (socketPath = args[args.indexOf('--host') + 1] ?? ''));
  const gateway = createGateway({ provider });
  await provider.start();
  const { url } = await gateway.listen();
  const settled = (count: number): Promise<LlameroEvents['settled'][0][]> =>
    new Promise((resolve) => {
      const seen: LlameroEvents['settled'][0][] = [];
      provider.on('settled', (request) => {
        seen.push(request);
        if (seen.length === count) resolve(seen);
      });
    });
  return {
    provider,
    /** Resolves when so many more requests have ended. */
    settled,
    post: (where: string, body: object, headers: Record<string, string> = {}, signal?: AbortSignal) => {
      const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers } };
      return fetch(url + where, { ...init, body: JSON.stringify(body), ...(signal === undefined ? {} : { signal }) });
    },
    scrape: async () => {
      const response = await fetch(`${url}/metrics`);
      const text = await response.text();
      assert.equal(response.status, 200, text);
      return { response, text, sum: summing(valuesOf(text)) };
    },
    /** What llama-server itself has counted. */
    engine: async () => {
      const [response] = (await once(get({ socketPath, path: '/metrics' }), 'response')) as [IncomingMessage];
      let text = '';
      for await (const chunk of response) text += String(chunk);
      return valuesOf(text);
    },
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      await provider.stop();
    },
  };
}

/** The sum of all series of a name whose labels hold these texts. */
function summing(values: Map<string, number>) {
  return (name: string, ...labels: string[]): number =>
    [...values]
      .filter(([line]) => line.split('{', 1)[0] === name && labels.every((label) => line.includes(`"${label}"`)))
      .reduce((total, [, value]) => total + value, 0);
}

describe('metrics of a gateway in front of a real engine', { timeout: 60_000 }, () => {
  let folder: Awaited<ReturnType<typeof modelFolder>>;
  before(async () => {
    folder = await modelFolder();
  });
  after(() => folder[Symbol.asyncDispose]());

  it('agree with what the engine and the answers say', async () => {
    await using served = await serveCounting({ model: await folder.model('tiny') });
    const ended = served.settled(5);
    const whole = await served.post(CHAT, HELLO);
    const { usage } = (await whole.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
    await (await served.post(CHAT, { ...HELLO, stream: true })).text();
    await (await served.post('/completion', { prompt: 'x', n_predict: 5, stream: true })).text();
    await (await served.post('/tokenize', { content: 'hello' })).text();
    assert.equal((await served.post(CHAT, { ...HELLO, grammar: 'no grammar' })).status, 400);
    await ended;
    const { response, sum } = await served.scrape();
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const engine = await served.engine();
    assert.equal(sum('llamero_tokens_total', 'prompt'), engine.get('llamacpp:prompt_tokens_total'));
    assert.equal(sum('llamero_tokens_total', 'cached'), engine.get('llamacpp:prompt_tokens_cached_total'));
    assert.equal(sum('llamero_tokens_total', 'completion'), engine.get('llamacpp:tokens_predicted_total'));
    const prompts = sum('llamero_tokens_total', 'prompt') + sum('llamero_tokens_total', 'cached');
    assert.ok(prompts >= 2 * usage.prompt_tokens + 1, 'both chats read the same prompt, from the cache or not');
    assert.deepEqual(
      {
        chats: sum('llamero_requests_total', 'chat.completions', 'completed'),
        refused: sum('llamero_requests_total', 'chat.completions', 'failed'),
        faults: sum('llamero_request_errors_total', 'invalid_request', 'client'),
        ours: sum('llamero_request_errors_total', 'server'),
        tokenized: sum('llamero_requests_total', 'tokenize'),
        streams: sum('llamero_stream_ends_total'),
        truncated: sum('llamero_silent_truncations_total'),
        first: sum('llamero_time_to_first_token_seconds_count'),
        prefill: sum('llamero_prefill_seconds_count'),
        perToken: sum('llamero_time_per_output_token_seconds_count'),
        durations: sum('llamero_request_duration_seconds_count'),
        queued: sum('llamero_queue_wait_seconds_count'),
        inFlight: sum('llamero_requests_in_flight'),
        slots: sum('llamero_engine_slots'),
        used: sum('llamero_engine_slots_in_use'),
        up: sum('llamero_engine_up'),
        starts: sum('llamero_engine_starts_total'),
      },
      {
        chats: 2,
        refused: 1,
        faults: 1,
        ours: 0,
        tokenized: 1,
        streams: 2,
        truncated: 0,
        first: 2,
        prefill: 2,
        perToken: 2,
        durations: 5,
        queued: 5,
        inFlight: 0,
        slots: 2,
        used: 0,
        up: 1,
        starts: 1,
      },
    );
    assert.equal(sum('llamero_refused_requests_total'), 0);
    assert.equal((await served.post('/v1/nothing', HELLO)).status, 404);
    const then = (await served.scrape()).sum;
    assert.equal(then('llamero_refused_requests_total', 'not_found', 'none'), 1);
    assert.equal(then('llamero_requests_total'), 5, 'it is none of these');
    assert.equal(sum('llamero_queue_limit'), 100);
    const limit = sum('llamero_memory_limit_bytes');
    assert.ok(limit > 0 && limit <= 2048 * 1024 ** 2, `${limit} bytes`);
    assert.equal(sum('llamero_request_body_bytes'), 0);
    assert.ok(sum('llamero_request_body_limit_bytes') > 0);
    assert.ok(sum('llamero_overhead_seconds_sum') > 0 && sum('llamero_overhead_seconds_sum') < 1);
    const { avgLatency, errorRate, tokensPerSecond, activeRequests } = served.provider.getMetrics();
    assert.equal(errorRate, 0.2);
    assert.equal(activeRequests, 0);
    assert.ok(avgLatency > 0 && tokensPerSecond > 0);
    const total = sum('llamero_request_duration_seconds_sum') * 1000;
    assert.ok(avgLatency <= total && avgLatency >= total / 20, `${avgLatency} ms of ${total} ms`);
  });

  it('follow clients that leave, limits, queues and the death of an engine', async () => {
    await using served = await serveCounting({
      profile: 'production',
      model: await folder.model('slow'),
      engine: { parallel: 1 },
      rateLimit: { requestsPerMinute: 3 },
    });
    const alice = { 'x-user-id': 'alice' };
    const stream = { ...HELLO, max_tokens: 200, stream: true };
    const leaving = new AbortController();
    const left = served.settled(1);
    const first = new StreamReader(await served.post(CHAT, stream, alice, leaving.signal));
    await first.next();
    const queued = served.post(CHAT, { ...HELLO, max_tokens: 1 }, { 'x-user-id': 'bob' });
    let busy = await served.scrape();
    while (busy.sum('llamero_queue_length') === 0) busy = await served.scrape();
    assert.equal(busy.sum('llamero_requests_in_flight'), 2);
    assert.equal(busy.sum('llamero_engine_slots_in_use'), 1);
    assert.equal(busy.sum('llamero_waiting_clients'), 1);
    leaving.abort();
    await left;
    await (await queued).text();

    const continued = new StreamReader(await served.post(CHAT, { ...stream, max_tokens: 30 }, alice));
    await continued.next();
    process.kill(served.provider.status().pid ?? 0, 'SIGKILL');
    assert.match(await continued.rest(), /\[DONE\]/);
    const refused = served.settled(3);
    await (await served.post(CHAT, { ...HELLO, max_tokens: 1 }, alice)).text();
    for (let again = 0; again < 2; again += 1) {
      assert.equal((await served.post(CHAT, HELLO, alice)).status, 429);
    }
    await refused;

    const { sum } = await served.scrape();
    assert.deepEqual(
      {
        gone: sum('llamero_stream_ends_total', 'client_gone'),
        cancelled: sum('llamero_requests_total', 'cancelled'),
        refusals: sum('llamero_rate_limit_refusals_total', 'user', 'requestsPerMinute'),
        limited: sum('llamero_request_errors_total', 'rate_limit_exceeded', 'client'),
        unsent: sum('llamero_requests_total', 'none', 'failed'),
        continuations: sum('llamero_stream_continuations_total'),
        continued: sum('llamero_continued_streams_total', 'completed'),
        crashes: sum('llamero_engine_crashes_total'),
        exits: sum('llamero_engine_exits_total', 'killed') + sum('llamero_engine_exits_total', 'killed_by_system'),
        starts: sum('llamero_engine_starts_total'),
        ready: sum('llamero_engine_state', 'ready'),
        limitedClients: sum('llamero_rate_limited_clients'),
        truncated: sum('llamero_silent_truncations_total'),
      },
      {
        gone: 1,
        cancelled: 1,
        refusals: 2,
        limited: 2,
        unsent: 2,
        continuations: 1,
        continued: 1,
        crashes: 1,
        exits: 1,
        starts: 2,
        ready: 1,
        limitedClients: 2,
        truncated: 0,
      },
    );
    assert.ok(sum('llamero_fairness_bound_tokens') > 0);
    assert.ok(sum('llamero_service_tokens_total') > 0);
  });

  it('never tell who asked, or for what', async () => {
    await using served = await serveCounting({ model: await folder.model('tiny') });
    const marker = 'MARK3R';
    const headers = {
      'x-user-id': `user-${marker}`,
      'x-session-id': `session-${marker}`,
      'x-request-id': `request-${marker}`,
    };
    const body = { ...HELLO, model: `model-${marker}`, user: marker, messages: [{ role: 'user', content: marker }] };
    const bodies = [body, { ...body, stream: true }, { ...body, grammar: marker }, { ...body, messages: marker }];
    for (const one of bodies) await (await served.post(CHAT, one, headers)).text();
    await (await served.post(`/${marker}?q=${marker}`, body, headers)).text();
    const { text } = await served.scrape();
    assert.ok(text.includes('llamero_requests_total{route="chat.completions",model="tiny",outcome="completed"} 2'));
    assert.doesNotMatch(text, new RegExp(`${marker}|127\\.0\\.0\\.1`));
  });
});

describe('the route of metrics', { timeout: 20_000 }, () => {
  it('needs a key where there are keys', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'llamero-metrics-'));
    const file = path.join(directory, 'keys.json');
    const { key } = await addApiKey(file, 'prometheus');
    const metrics = { contentType: 'text/plain', text: async () => 'llamero_up 1\n' };
    const provider = new ScriptedBackend();
    const config = parseConfig({ gateway: { port: 'auto', apiKeyFile: file } });
    await using gateway = createGateway({ provider, config, metrics });
    try {
      const { url } = await gateway.listen();
      assert.equal((await fetch(`${url}/metrics`)).status, 401);
      const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
      assert.equal(await answer.text(), 'llamero_up 1\n');
      assert.equal((await fetch(`${url}/metrics`, { method: 'POST' })).status, 401);
    } finally {
      await gateway.stop();
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('is not there without metrics', async () => {
    await using gateway = createGateway({
      provider: new ScriptedBackend(),
      config: parseConfig({ gateway: { port: 'auto' } }),
    });
    const { url } = await gateway.listen();
    assert.equal((await fetch(`${url}/metrics`)).status, 404);
  });
});
