import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { startFakeLlamaServer, writeFakeLlamaServerCommand, writeTinyModel } from '../index.ts';
import { call, callJson, frames, startRealServer, temporaryDirectory, type Target } from './servers.ts';

const DEADLINE = { timeout: 60_000 };
/** Registers a test of something that Windows has not. */
const posix = process.platform === 'win32' ? unregistered : it;
const messages = [{ role: 'user', content: 'hi' }];

/** Requests whose answers must have the same fields from both servers. */
const requests: Array<[string, object]> = [
  ['/v1/chat/completions', { messages, max_tokens: 2, seed: 1 }],
  ['/v1/chat/completions', { messages, max_tokens: 2, seed: 1, stream: true }],
  ['/v1/chat/completions', { messages, max_tokens: 2, stream: true, stream_options: { include_usage: true } }],
  ['/v1/chat/completions', { messages, max_tokens: 2, stream: true, logprobs: true, top_logprobs: 1 }],
  [
    '/v1/chat/completions',
    { messages, max_tokens: 2, stream: true, verbose: true, return_progress: true, cache_prompt: false },
  ],
  ['/v1/completions', { prompt: 'hi', max_tokens: 2 }],
  ['/v1/completions', { prompt: 'hi', max_tokens: 2, stream: true, verbose: true }],
  ['/completion', { prompt: 'hi', n_predict: 2, return_tokens: true }],
  ['/completion', { prompt: ['hi', 12], n_predict: 2, stream: true }],
  ['/v1/responses', { input: 'hi', max_output_tokens: 2 }],
  ['/v1/responses', { input: 'hi', max_output_tokens: 2, stream: true }],
  ['/v1/messages', { messages, max_tokens: 2 }],
  ['/v1/messages', { messages, max_tokens: 2, stream: true }],
  ['/v1/messages/count_tokens', { messages }],
  ['/v1/embeddings', { input: ['a', 'b'] }],
  ['/embedding', { content: 'a' }],
  ['/tokenize', { content: 'a' }],
  ['/tokenize', { content: 'a', with_pieces: true }],
  ['/detokenize', { tokens: [1] }],
  ['/apply-template', { messages }],
  ['/rerank', { query: 'a', documents: ['b'] }],
  ['/v1/chat/completions', {}],
  ['/nothing', {}],
];

/** The fields of a value, as sorted paths with types; settings of the sampler are left out, since the double has none. */
function fields(value: unknown, path = ''): string[] {
  if (path.endsWith('.generation_settings')) return [path];
  if (Array.isArray(value))
    return value.length === 0 ? [`${path}[]`] : [...new Set(value.flatMap((item) => fields(item, `${path}[]`)))];
  if (value === null || typeof value !== 'object') return [`${path}: ${value === null ? 'null' : typeof value}`];
  return Object.entries(value)
    .flatMap(([key, item]) => fields(item, `${path}.${key}`))
    .sort();
}

/** What an answer looks like: status, the headers that matter, the event names and the fields of every frame. */
async function shape(server: Target, path: string, body: object): Promise<unknown> {
  const { status, headers, text } = await call(server, path, body);
  const stream = headers['content-type'] === 'text/event-stream';
  return {
    status,
    type: headers['content-type'],
    accel: headers['x-accel-buffering'],
    events: stream ? text.split('\n').filter((line) => line.startsWith('event: ')) : [],
    body: stream
      ? frames(text).map((frame) => (frame === '[DONE]' ? frame : fields(JSON.parse(frame))))
      : fields(JSON.parse(text)),
    blankLines: stream ? text.split('\n').filter((line) => line === '').length : 0,
  };
}

describe('double of llama-server', DEADLINE, () => {
  it('answers every route in the shape of the real server', async () => {
    await using directory = await temporaryDirectory();
    const { path: model } = await writeTinyModel(join(directory.path, 'tiny.gguf'));
    await using real = await startRealServer(model, ['-t', '1', '-np', '1', '-c', '512', '--embeddings']);
    await using fake = await startFakeLlamaServer({ args: ['--embeddings'] });
    for (const path of ['/health', '/slots']) {
      assert.deepEqual(fields(await callJson(fake, path)), fields(await callJson(real, path)), path);
    }
    for (const [path, body] of requests) {
      assert.deepEqual(await shape(fake, path, body), await shape(real, path, body), `${path} ${JSON.stringify(body)}`);
    }
    const [fakeProps, realProps] = await Promise.all([fake, real].map((server) => callJson<object>(server, '/props')));
    assert.deepEqual(Object.keys(fakeProps ?? {}), Object.keys(realProps ?? {}));
  });

  it('counts upwards, so that lost and doubled text shows', async () => {
    await using server = await startFakeLlamaServer();
    const { choices } = await callJson<{ choices: Array<{ text: string }> }>(server, '/v1/completions', {
      prompt: 'hi',
      max_tokens: 9,
    });
    assert.equal(choices[0]?.text, ' 1 2 3 🦙4 5 6 7 🦙8 9');
    const { content } = await callJson<{ content: string }>(server, '/completion', {
      prompt: ['hi', 1, 2, 3],
      n_predict: 2,
    });
    assert.equal(content, ' 🦙4 5');
    const continued = [...messages, { role: 'assistant', content: ' 1 2' }];
    const flags = { continue_final_message: true, add_generation_prompt: false, max_tokens: 2 };
    const chat = await callJson<{ choices: Array<{ message: { content: string } }> }>(server, '/v1/chat/completions', {
      messages: continued,
      ...flags,
    });
    assert.equal(chat.choices[0]?.message.content, ' 1 2 3 🦙4');
  });

  it('brings every text back from its tokens, and repeats given tokens', async () => {
    await using server = await startFakeLlamaServer({ tokens: ['foo', ' bar'] });
    for (const content of ['', 'é🦙\u0000 1 🦙4 x', 'foo bar baz', '👩‍👩‍👧']) {
      const { tokens } = await callJson<{ tokens: number[] }>(server, '/tokenize', { content });
      assert.deepEqual(await callJson(server, '/detokenize', { tokens }), { content });
    }
    const { content } = await callJson<{ content: string }>(server, '/completion', { prompt: '', n_predict: 3 });
    assert.equal(content, 'foo barfoo');
  });

  it('gives JSON that fits a schema', async () => {
    await using server = await startFakeLlamaServer();
    const schema = {
      type: 'object',
      properties: { a: { type: 'string' }, b: { type: 'array', items: { type: 'integer' } }, c: { enum: ['x'] } },
    };
    const format = { type: 'json_schema', json_schema: { schema } };
    const { choices } = await callJson<{ choices: Array<{ finish_reason: string; message: { content: string } }> }>(
      server,
      '/v1/chat/completions',
      {
        messages,
        response_format: format,
      },
    );
    assert.deepEqual(JSON.parse(choices[0]?.message.content ?? ''), { a: ' 1', b: [1], c: 'x' });
    assert.equal(choices[0]?.finish_reason, 'stop');
  });

  it('reads a prompt in steps, with progress events and in the counters of /slots', async () => {
    // Each step is long enough for somebody who asks all the time to see it, also where the processor is shared.
    await using server = await startFakeLlamaServer({ prefillMs: 1600, prefillSteps: 4 });
    const prompt = 'one two three four five six seven eight';
    const body = { prompt, n_predict: 2, stream: true };
    const { text } = await call(server, '/completion', { ...body, return_progress: true });
    const steps = frames(text)
      .map((frame) => (JSON.parse(frame) as { prompt_progress?: { total: number; processed: number } }).prompt_progress)
      .filter((progress) => progress !== undefined);
    const total = steps[0]?.total ?? 0;
    assert.deepEqual(
      steps.map(({ processed }) => processed),
      [0, 1, 2, 3, 4].map((step) => Math.round((total * step) / 4)),
    );
    const silent = call(server, '/completion', body);
    const seen = new Set<number>();
    while (server.counters().finished < 2) {
      const slots = await callJson<Array<{ is_processing: boolean; n_prompt_tokens_processed: number }>>(
        server,
        '/slots',
      );
      for (const slot of slots) if (slot.is_processing) seen.add(slot.n_prompt_tokens_processed);
    }
    assert.ok(seen.size >= 4);
    assert.doesNotMatch((await silent).text, /prompt_progress/);
  });

  it('serves as many requests at once as it has slots, and frees the slot of a client that went away', async () => {
    await using server = await startFakeLlamaServer({ slots: 1, tokensPerSecond: 20 });
    const leaving = new AbortController();
    const first = call(server, '/completion', { prompt: 'a', n_predict: 10_000, stream: true }, leaving.signal);
    await server.waitForCounters(({ tokens }) => tokens > 0);
    assert.equal((await call(server, '/slots?fail_on_no_slot=1')).status, 503);
    const second = call(server, '/completion', { prompt: 'b', n_predict: 1 });
    await server.waitForCounters(({ waiting }) => waiting === 1);
    leaving.abort();
    assert.equal((await second).status, 200);
    await Promise.allSettled([first]);
    const counters = await server.waitForCounters(({ aborted, finished }) => aborted === 1 && finished === 1);
    assert.equal(counters.active, 0);
  });

  it('refuses a prompt that is too long in the words of the real server', async () => {
    await using server = await startFakeLlamaServer({ contextLength: 64 });
    const { status, text } = await call(server, '/completion', { prompt: 'x'.repeat(300) });
    assert.equal(status, 400);
    assert.deepEqual(JSON.parse(text), {
      error: {
        code: 400,
        message: 'request (100 tokens) exceeds the available context size (64 tokens), try increasing it',
        type: 'exceed_context_size_error',
        n_prompt_tokens: 100,
        n_ctx: 64,
      },
    });
  });

  void posix('listens on a UNIX socket', async () => {
    await using directory = await temporaryDirectory();
    await using server = await startFakeLlamaServer({ socketPath: join(directory.path, 'engine.sock') });
    assert.equal((await call(server, '/health')).status, 200);
  });

  it('stays at SIGTERM with a request in flight, without a token or an end, until the second one', async () => {
    await using server = await startFakeLlamaServer({ tokensPerSecond: 200 });
    let over = false;
    const answer = call(server, '/completion', { prompt: 'a', n_predict: 100_000, stream: true }).finally(
      () => (over = true),
    );
    await server.waitForCounters(({ tokens }) => tokens > 3);
    process.kill(server.pid, 'SIGTERM');
    await assert.rejects(async () => {
      for (;;) await call(server, '/health');
    });
    assert.equal(over, false);
    process.kill(server.pid, 'SIGTERM');
    assert.deepEqual(await server.exited, { code: 1, signal: null });
    assert.notEqual((await answer).error, null);
  });

  it('ends with 0 at SIGTERM when idle', async () => {
    await using server = await startFakeLlamaServer();
    process.kill(server.pid, 'SIGTERM');
    assert.deepEqual(await server.exited, { code: 0, signal: null });
  });

  void posix('is a command that takes the place of llama-server', async () => {
    await using directory = await temporaryDirectory();
    await using fake = await writeFakeLlamaServerCommand({ faults: { startFailure: 'out_of_memory', firstStarts: 1 } });
    const socketPath = join(directory.path, 'engine.sock');
    const run = (...args: string[]): ReturnType<typeof spawn> =>
      spawn(fake.command, args, { stdio: ['ignore', 'pipe', 'pipe'] });

    const version = await outcome(run('--version'));
    assert.equal(version.code, 0);
    assert.match(version.log, /^version: 0\.5\.0/m);
    assert.equal(fake.counters().starts, 0);

    const failed = await outcome(run('-m', '/models/m.gguf', '--host', socketPath, '--unknown', 'option', '-fa'));
    assert.equal(failed.code, 1);
    assert.match(failed.log, /failed to allocate buffer of size 4096000000/);

    const child = run('-m', '/models/m.gguf', '--host', socketPath, '-np', '2', '-c', '1024');
    const ended = outcome(child);
    await fake.waitForCounters(({ starts }) => starts === 2);
    const target = { url: 'http://localhost', socketPath };
    let props: { total_slots: number; default_generation_settings: { n_ctx: number } } | undefined;
    while (props === undefined)
      props = await callJson<NonNullable<typeof props>>(target, '/props').catch(() => undefined);
    assert.equal(props.total_slots, 2);
    assert.equal(props.default_generation_settings.n_ctx, 512);
    child.kill('SIGTERM');
    assert.equal((await ended).code, 0);
  });
});

function unregistered(): void {
  // The platform has nothing that this test could try.
}

/** How a program ended, and what it wrote to standard error. */
async function outcome(child: ReturnType<typeof spawn>): Promise<{ code: number; log: string }> {
  let log = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (log += chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, log };
}
