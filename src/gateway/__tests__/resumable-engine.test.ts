import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import type { ConfigInput } from '../../core/config.ts';
import { writeTinyModel } from '../../testing/index.ts';
import { assertWhole, readStream, type TestDialect } from './continued-stream.ts';
import { comeBack, type Connection, plain, RESUMABLE, send, statusOf } from './resumable-client.ts';
import { DIALECTS, nextEvent, serve, type Served, until } from './served-engine.ts';

const [CHAT, , COMPLETION] = DIALECTS;
const TOKENS = 10;
const LONG_TOKENS = 60;
/** Some 6 ms a token on one core, so that there is time to leave. */
const BALLAST_BYTES = 90_000_000;
const SETTINGS: ConfigInput = {
  engine: {
    restart: { maxRestarts: 1000, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 },
    args: ['--flash-attn', 'off'],
  },
};

/** Streams of the real llama-server whose clients lose their connection. */
describe(
  'a stream of the engine that its client comes back to',
  { timeout: 120_000, skip: process.platform === 'win32' && 'signals of POSIX' },
  () => {
    let folder = '';
    let model = '';
    let served: Served;

    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'llamero-resumable-'));
      model = path.join(folder, 'model.gguf');
      await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
      served = await serve({ ...SETTINGS, model });
    });
    after(async () => {
      await served?.[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });

    for (const dialect of DIALECTS) {
      it(`goes on while nobody reads: ${dialect.name}`, async () => {
        const uninterrupted = await readStream(await served.post(dialect.path, bodyOf(dialect)));
        const first = await begin(served, dialect);
        const received = await first.until('id: ');
        const offset = received.length - 5;
        first.cut();
        const second = await comeBack(served.port, first.streamId, offset);
        const all = Buffer.concat([received.subarray(0, offset), await second.rest()]);
        assertWhole(await readStream(new Response(plain(all))), dialect, uninterrupted.text);
        const again = await comeBack(served.port, first.streamId, 0);
        assert.deepEqual(await again.rest(), all);
      });
    }

    for (const dialect of [CHAT, COMPLETION]) {
      it(`goes on with another engine while nobody reads: ${dialect.name}`, async () => {
        const uninterrupted = await readStream(await served.post(dialect.path, bodyOf(dialect, LONG_TOKENS)));
        const { first, received } = await leaveAndKill(served, dialect);
        const second = await comeBack(served.port, first.streamId, received.length);
        const stream = await readStream(new Response(plain(Buffer.concat([received, await second.rest()]))));
        assertWhole(stream, dialect, uninterrupted.text);
        assert.equal(stream.continued, 1);
      });
    }

    it('frees its slot when nobody comes back', async () => {
      await using brief = await serve({ ...SETTINGS, model, streamResume: { maxAge: 30 } });
      const connection = await begin(brief, CHAT, 1500);
      await connection.until('id: ');
      assert.equal(brief.provider.status().inFlight, 1);
      connection.cut();
      await until(async () => (await statusOf(brief.url)).resumableStreams.held === 0);
      await until(async () => (await fetch(`${brief.url}/livez`)).ok && brief.provider.status().slotsInUse === 0);
      assert.equal(brief.provider.status().inFlight, 0);
      assert.equal((await comeBack(brief.port, connection.streamId, 0)).status, 404);
    });

    it('is read by the official clients as any other', async () => {
      const options = { apiKey: 'none', maxRetries: 0, defaultHeaders: { 'X-Stream-Resume': 'true' } };
      const openai = new OpenAI({ ...options, baseURL: `${served.url}/v1` });
      const messages = [{ role: 'user' as const, content: 'Hello' }];
      const asked = { model: 'any', messages, max_tokens: TOKENS, temperature: 0, stream: true as const };
      const whole = await readStream(await served.post(CHAT.path, bodyOf(CHAT)));
      const chat = await openai.chat.completions.create(asked).withResponse();
      assert.match(chat.response.headers.get('x-stream-id') ?? '', /^[\w-]{24}$/);
      let text = '';
      for await (const { choices } of chat.data) text += choices[0]?.delta.content ?? '';
      assert.equal(text, whole.text);
      const response = {
        model: 'any',
        input: 'Hello',
        max_output_tokens: TOKENS,
        temperature: 0,
        stream: true as const,
      };
      let completed = 0;
      for await (const { type } of await openai.responses.create(response)) {
        if (type === 'response.completed' || type === 'response.incomplete') completed += 1;
      }
      assert.equal(completed, 1);
      const anthropic = new Anthropic({ ...options, baseURL: served.url });
      const message = await anthropic.messages
        .stream({ model: 'any', messages, max_tokens: TOKENS, temperature: 0 })
        .finalMessage();
      assert.equal(message.usage.output_tokens, TOKENS);
      assert.equal(message.stop_reason, 'max_tokens');
    });
  },
);

function bodyOf({ body, limit }: TestDialect, tokens = TOKENS): Record<string, unknown> {
  return { ...body('Hello'), [limit]: tokens, temperature: 0, stream: true };
}

/** A stream that may be come back to. */
function begin(served: Served, dialect: TestDialect, tokens = TOKENS): Promise<Connection> {
  return send(served.port, 'POST', dialect.path, RESUMABLE, JSON.stringify(bodyOf(dialect, tokens)));
}

/**
 * Leaves a stream at its first event and ends the engine; returns when another goes on with it. On a busy machine the
 * engine may have had its whole answer out by then: once more.
 */
async function leaveAndKill(served: Served, dialect: TestDialect): Promise<{ first: Connection; received: Buffer }> {
  for (;;) {
    const isContinued = Promise.race([
      nextEvent(served, 'stream-continued').then(() => true),
      nextEvent(served, 'response').then(() => false),
    ]);
    const first = await begin(served, dialect, LONG_TOKENS);
    const received = await first.until('id: ');
    first.cut();
    const ready = nextEvent(served, 'engine-ready');
    process.kill(served.provider.status().pid as number, 'SIGKILL');
    if (await isContinued) return { first, received };
    await ready;
  }
}
