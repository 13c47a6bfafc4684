import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { writeTinyModel } from '../../testing/index.ts';
import { assertWhole, flawOf, readStream, type ReadStream } from './continued-stream.ts';
import { DIALECTS, record, serve, type Served } from './served-engine.ts';

const [CHAT, , COMPLETION] = DIALECTS;
/** Several times as many as are decoded while the next engine starts. */
const TOKENS = 120;
const BALLAST_BYTES = 180_000_000;
const STREAMS = [
  { way: 'ids', dialect: COMPLETION, mode: 'fast' },
  { way: 'text', dialect: CHAT, mode: 'fast' },
  { way: 'replay', dialect: CHAT, mode: 'exact' },
] as const;

async function ask(
  served: Served,
  { dialect, mode }: (typeof STREAMS)[number],
  onText?: () => void,
): Promise<ReadStream> {
  const settings = { [dialect.limit]: TOKENS, temperature: 0, ignore_eos: true, stream: true };
  const body = { ...dialect.body('Hello'), ...settings };
  return readStream(await served.post(dialect.path, body, { 'x-stream-continuation': mode }), onText);
}

/** Killed is here the old engine of a planned restart, which still has its streams while the next one takes requests. */
describe(
  'streams whose engine is lost while another one is ready',
  {
    timeout: 120_000,
    skip: process.platform !== 'linux' && 'whether two engines fit beside each other is read in /proc',
  },
  () => {
    let folder = '';
    let model = '';
    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'llamero-continuation-'));
      model = path.join(folder, 'model.gguf');
      await writeTinyModel(model, { ballastBytes: BALLAST_BYTES });
    });
    after(() => rm(folder, { recursive: true, force: true }));

    it('go on with the ready one, whichever way; none is started for them, and the loss is told for what it is', async () => {
      await using served = await serve({ model, engine: { parallel: 3, args: ['--flash-attn', 'off'] } });
      const whole = await Promise.all(STREAMS.map((stream) => ask(served, stream)));
      const continued = record(served, 'stream-continued');
      const ready = record(served, 'engine-ready');
      const exits = record(served, 'engine-exit');
      const { pid: old, generation, crashes } = served.provider.status();
      assert.ok(old !== null);
      const begun = STREAMS.map(() => Promise.withResolvers<void>());
      const asked = STREAMS.map((stream, index) => ask(served, stream, begun[index]?.resolve));
      await Promise.all(begun.map(({ promise }) => promise));
      served.provider.events.once('engine-ready', () => process.kill(old, 'SIGKILL'));
      const { overlap } = await served.provider.restartEngine();
      const streams = await Promise.all(asked);
      assert.ok(overlap);
      for (const [index, { way, dialect }] of STREAMS.entries()) {
        const stream = streams[index] as ReadStream;
        assert.equal(stream.continued, 1, `${way}: ${stream.raw.slice(-500)}`);
        // Text that is tokenised anew may have another rest.
        if (way === 'text') assert.equal(flawOf(stream, dialect), null, stream.raw.slice(-2000));
        else assertWhole(stream, dialect, (whole[index] as ReadStream).text);
      }
      assert.deepEqual(new Set(continued.map(({ way }) => way)), new Set(STREAMS.map(({ way }) => way)));
      assert.deepEqual(
        continued.map(({ cause }) => cause),
        STREAMS.map(() => 'killed'),
      );
      assert.deepEqual(
        [exits, ready].map((events) => events.map((event) => event.generation)),
        [[generation], [generation + 1]],
      );
      const status = served.provider.status();
      assert.deepEqual([status.state, status.generation, status.crashes], ['ready', generation + 1, crashes + 1]);
    });
  },
);
