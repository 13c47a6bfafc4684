import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ClientOptions } from '../../../admission/client-options.ts';
import type { ConfigInput } from '../../../config.ts';
import { LlameroError } from '../../../errors.ts';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { realProvider, record, temporaryDirectory, tinyModel } from '../fixtures.ts';

const DEADLINE = { timeout: 30_000 };

/** How one request of that client ends: `ok`, or the code of its error. */
async function ask(provider: LlamaCppProvider, client: ClientOptions | undefined, prompt = 'Hello'): Promise<string> {
  try {
    await provider.generate(prompt, client === undefined ? { maxTokens: 2 } : { maxTokens: 2, client });
    return 'ok';
  } catch (error) {
    if (!(error instanceof LlameroError) || error.code === 'engine_unavailable') throw error;
    return error.code;
  }
}

/** How many requests in a row are served before one is refused; at most ten. */
async function servedInARow(provider: LlamaCppProvider, client: ClientOptions | undefined): Promise<number> {
  for (let count = 0; count < 10; count += 1) {
    const outcome = await ask(provider, client);
    if (outcome === 'rate_limit_exceeded') return count;
    assert.equal(outcome, 'ok');
  }
  return 10;
}

describe('Rate Limiting', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let model = '';
  before(async () => {
    directory = await temporaryDirectory();
    model = await tinyModel(directory.path);
  });
  after(() => directory[Symbol.asyncDispose]());

  const limited = (rateLimit: ConfigInput['rateLimit']) => realProvider(model, { rateLimit });

  it('holds each client to its limit, and says when it ends', DEADLINE, async () => {
    await using provider = limited({ requestsPerMinute: 3 });
    assert.equal(await servedInARow(provider, { userId: 'alice' }), 3);
    assert.equal(await servedInARow(provider, { userId: 'bob' }), 3);
    await assert.rejects(provider.generate('Hello', { client: { userId: 'alice' } }), (error: LlameroError) => {
      assert.equal(error.code, 'rate_limit_exceeded');
      assert.equal(error.retryable, true);
      assert.ok((error.retryAfterMs ?? 0) > 0 && (error.retryAfterMs ?? 0) <= 60_001);
      assert.match(error.message, /3 requests per minute/);
      return true;
    });
  });

  it('holds none back where no limit was asked for', DEADLINE, async () => {
    await using provider = realProvider(model);
    assert.equal(await servedInARow(provider, undefined), 10);
  });

  it('has a pool of its own for each kind of client', DEADLINE, async () => {
    const pools = {
      user: { requestsPerMinute: 4 },
      session: { requestsPerMinute: 3 },
      ip: { requestsPerMinute: 2 },
      anonymous: { requestsPerMinute: 1 },
    };
    await using provider = limited({ pools });
    const same = 'the same name';
    assert.deepEqual(
      [
        await servedInARow(provider, { userId: same, sessionId: same, ip: '192.0.2.1' }),
        await servedInARow(provider, { sessionId: same, ip: '192.0.2.1' }),
        await servedInARow(provider, { ip: '192.0.2.1' }),
        await servedInARow(provider, undefined),
      ],
      [4, 3, 2, 1],
    );
    assert.equal(await servedInARow(provider, { userId: 'other', limits: { requestsPerMinute: 6 } }), 6);
  });

  it('counts all spellings of an address as one client', DEADLINE, async () => {
    await using provider = limited({ requestsPerMinute: 4 });
    const spellings = [
      ['192.0.2.7', '::ffff:192.0.2.7', '[::FFFF:c000:0207]:8080', '192.0.2.7:443', '192.0.2.7'],
      ['2001:db8::1', '2001:0DB8:0:0::ffff', '[2001:db8::2]:443', '2001:db8:0:0:1:2:3:4%eth0', '2001:db8::1'],
    ];
    for (const addresses of spellings) {
      const outcomes = [];
      for (const ip of addresses) outcomes.push(await ask(provider, { ip }));
      assert.deepEqual(outcomes, ['ok', 'ok', 'ok', 'ok', 'rate_limit_exceeded']);
    }
    assert.equal(await ask(provider, { ip: '192.0.2.8' }), 'ok');
    assert.equal(await ask(provider, { ip: '2001:db8:0:1::1' }), 'ok', 'another /64');
  });

  it('tells of violations, once a second for each client, and not by name', DEADLINE, async () => {
    await using provider = limited({ requestsPerMinute: 1 });
    const violations = record(provider, 'rate-limit');
    for (const ip of ['192.0.2.7', '192.0.2.8']) {
      assert.equal(await ask(provider, { ip }), 'ok');
      for (let count = 0; count < 5; count += 1) assert.equal(await ask(provider, { ip }), 'rate_limit_exceeded');
    }
    assert.equal(violations.length, 2);
    for (const { pool, limit, client, retryAfterMs, refusals } of violations) {
      assert.deepEqual({ pool, limit, refusals }, { pool: 'ip', limit: 'requestsPerMinute', refusals: 1 });
      assert.match(client, /^[0-9a-f]{16}$/);
      assert.ok(retryAfterMs > 0);
    }
    assert.notEqual(violations[0]?.client, violations[1]?.client);
    assert.ok(!JSON.stringify(violations).includes('192.0.2'));
  });

  it('charges nothing for what never reached the engine', DEADLINE, async () => {
    await using provider = limited({ requestsPerMinute: 1 });
    const responses = record(provider, 'response');
    await provider.start();
    for (let count = 0; count < 3; count += 1) {
      assert.equal(await ask(provider, { userId: 'alice' }, 'word '.repeat(4000)), 'context_length_exceeded');
    }
    assert.equal(await servedInARow(provider, { userId: 'alice' }), 1);
    assert.equal(responses.length, 1);
  });

  it('limits the requests of a client at once, waiting ones included', DEADLINE, async () => {
    await using provider = realProvider(model, { engine: { parallel: 1 }, rateLimit: { maxConcurrent: 2 } });
    await provider.start();
    const client = { userId: 'alice' };
    const streams = [1, 2].map(() => provider.stream('Hello', { maxTokens: 1900, client }));
    const [first, second] = streams.map((stream) => stream.next());
    await first;
    assert.equal(await ask(provider, client), 'rate_limit_exceeded');
    const left = assert.rejects(async () => second, { code: 'cancelled' });
    await streams[1]?.return?.();
    await left;
    assert.equal(provider.status().inFlight, 1);
    const third = ask(provider, client);
    await streams[0]?.return?.();
    assert.equal(await third, 'ok');
  });

  it('enforces a budget of tokens while an answer runs', DEADLINE, async () => {
    await using provider = limited({ tokensPerMinute: 100 });
    const client = { userId: 'alice' };
    await provider.start();
    const { finishReason, usage } = await provider.generate('Hello', { client });
    assert.equal(finishReason, 'length');
    assert.equal(usage.promptTokens + usage.completionTokens, 100);
    assert.equal(await ask(provider, client), 'rate_limit_exceeded');
  });
});
