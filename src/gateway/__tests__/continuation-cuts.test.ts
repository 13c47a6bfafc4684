import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { StreamFault } from '../../testing/fake/settings.ts';
import { type FakeLlamaServer, startFakeLlamaServer } from '../../testing/index.ts';
import { assertFailed, assertWhole, readStream, type ReadStream, type TestDialect } from './continued-stream.ts';
import { Scissors } from './scissors.ts';
import { DIALECTS, errorOf, record, serve, type Served } from './served-engine.ts';

const TOKENS = 8;
/** Bytes between two cuts; odd, so that they fall on every part of an event. */
const STRIDE = 37;

/**
 * Streams whose connection breaks at any byte, in front of an engine that lives on. Here at some hundred bytes; at every one of
 * them by `npm run test:chaos -- --fault cut`.
 */
describe('a stream cut at any byte', { timeout: 120_000 }, () => {
  let double: FakeLlamaServer;
  let scissors: Scissors;
  let served: Served;
  before(async () => {
    double = await startFakeLlamaServer();
    scissors = await Scissors.start(double.port ?? 0);
    // What breaks before its first event is asked for again, as often as it happens.
    served = await serve({
      engineUrl: scissors.url,
      circuitBreaker: { failureThreshold: 1000 },
      retry: { retryDelay: 1, backoffMultiplier: 1 },
    });
  });
  after(async () => {
    await served?.[Symbol.asyncDispose]();
    await scissors?.[Symbol.asyncDispose]();
    await double?.[Symbol.asyncDispose]();
  });

  for (const dialect of DIALECTS) {
    it(`is whole, or ends with one error event: ${dialect.name}`, async () => {
      const continued = record(served, 'stream-continued');
      const whole = await ask(served, dialect);
      assert.ok(typeof whole !== 'string');
      const length = scissors.answered.length;
      const headers = scissors.answered.indexOf('\r\n\r\n') + 4;
      const character = scissors.answered.indexOf('🦙');
      assert.ok(headers > 4 && character > headers);
      // The chunk of HTTP with the first token; behind it the client has something.
      const first = scissors.answered.indexOf('\r\n', scissors.answered.indexOf('" 1"'));
      const cuts = new Set([
        1,
        headers >> 1,
        headers - 1,
        headers,
        character + 1,
        character + 2,
        character + 3,
        length - 1,
      ]);
      for (let cut = headers + 1; cut < length; cut += STRIDE) cuts.add(cut);
      for (const cut of cuts) {
        scissors.cutAt = cut;
        const stream = await ask(served, dialect);
        // Times have more or fewer digits from run to run, so that the end may lie before the last cuts.
        if (cut < length - 50) assert.equal(scissors.cutAt, null, `cut at ${cut} of ${length}`);
        scissors.cutAt = null;
        // Nothing had come, and the engine lives: it is not asked again.
        if (typeof stream === 'string') assert.deepEqual([stream, cut < first], ['engine_error', true]);
        else assertWhole(stream, dialect, whole.text);
      }
      assert.ok(continued.length > cuts.size / 2);
      const { inFlight, slotsInUse } = served.provider.status();
      assert.deepEqual({ inFlight, slotsInUse }, { inFlight: 0, slotsInUse: 0 });
    });
  }
});

const FAULTS: readonly StreamFault[] = [
  { fault: 'destroy' },
  { fault: 'end' },
  { fault: 'cut-frame' },
  { fault: 'cut-frame', destroy: true },
  { fault: 'cut-character' },
  { fault: 'cut-character', destroy: true },
  { fault: 'malformed-frame' },
  { fault: 'garbage' },
];

describe('a stream whose engine answers nonsense in the middle', { timeout: 120_000 }, () => {
  for (const fault of FAULTS) {
    const name = 'destroy' in fault ? `${fault.fault}, connection closed` : fault.fault;
    it(`goes on behind it, or ends with one error event: ${name}`, async () => {
      for (const tokens of fault.fault === 'destroy' ? [0, 3] : [3]) {
        await using double = await startFakeLlamaServer({
          faults: { firstRequests: DIALECTS.length, after: { tokens, ...fault } },
        });
        await using served = await serve({ engineUrl: double.url, circuitBreaker: { failureThreshold: 1000 } });
        for (const dialect of DIALECTS) {
          const stream = await ask(served, dialect);
          if (typeof stream === 'string') {
            assert.match(stream, /^(engine_error|engine_bad_response|stream_interrupted)$/);
            assert.equal(tokens, 0);
          } else if (stream.errors.length > 0) assertFailed(stream, /^(stream_interrupted|engine_bad_response)$/);
          else assertWhole(stream, dialect, counted(TOKENS));
        }
      }
    });
  }
});

/** What the double generates. */
function counted(tokens: number): string {
  return Array.from({ length: tokens }, (_, index) => (index % 4 === 3 ? ` 🦙${index + 1}` : ` ${index + 1}`)).join('');
}

/** @returns the stream, or the code of the error that came in its place. */
async function ask(served: Served, { path, body, limit }: TestDialect): Promise<ReadStream | string> {
  const response = await served.post(path, { ...body('Hello'), [limit]: TOKENS, temperature: 0, stream: true });
  return response.status === 200 ? readStream(response) : (await errorOf(response)).code;
}
