import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SlotProgress } from '../compare-slots.ts';
import { HangWatch, type WatchedEngine, type WatchedExchange } from '../hang-watch.ts';

/** Beside each other: most of their time is spent waiting for nothing to happen. */
const TOGETHER = { timeout: 20_000, concurrency: true };
const IDLE_MS = 300;
const FIRST_TOKEN_MS = 900;
const LOOK_INTERVAL_MS = 200;
/** Long enough for several looks, and for every limit to pass. */
const QUIET_MS = 1500;

type Signs = Awaited<ReturnType<WatchedEngine['vitalSigns']>>;

class Request implements WatchedExchange {
  readonly generation: number;
  phase: WatchedExchange['phase'];
  lifeCount = 0;
  watchedLifeCount = -1;
  watchedSilentMs = 0;

  constructor(phase: WatchedExchange['phase'], generation = 1) {
    this.phase = phase;
    this.generation = generation;
  }
}

const busy = (task: number, tokens: number): SlotProgress => ({ busy: true, task, tokens });

/** A watch over those requests and an engine that shows these signs; collects what it reports. */
function watching(requests: Request[], signs: (look: number) => Signs) {
  const hangs: { generation: number; silentMs: number; evidence: string }[] = [];
  const silent: Request[] = [];
  const reported = Promise.withResolvers<'hang' | 'silent'>();
  let looks = 0;
  const watch = new HangWatch<Request>({
    idleMs: IDLE_MS,
    firstTokenMs: FIRST_TOKEN_MS,
    lookIntervalMs: LOOK_INTERVAL_MS,
    tickMs: 10,
    engine: { vitalSigns: async () => signs((looks += 1)) },
    exchanges: () => requests,
    onHang: (generation, silentMs, evidence) => {
      hangs.push({ generation, silentMs, evidence });
      reported.resolve('hang');
    },
    onSilent: (request) => {
      silent.push(request);
      reported.resolve('silent');
    },
  });
  watch.start();
  return {
    hangs,
    silent,
    looks: () => looks,
    /** What comes first: a report, or the end of a quiet time. */
    outcome: async (quietMs = QUIET_MS) => {
      const { promise, resolve } = Promise.withResolvers<'quiet'>();
      const timer = setTimeout(() => resolve('quiet'), quietMs);
      const outcome = await Promise.race([reported.promise, promise]);
      clearTimeout(timer);
      return outcome;
    },
    [Symbol.dispose]: () => watch.stop(),
  };
}

/** Calls `work` every 20 ms until disposed. */
function meanwhile(work: () => void): Disposable {
  const timer = setInterval(work, 20);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

describe('the watch for hangs', TOGETHER, () => {
  it('reports a stopped engine once, within the limit and a second', async () => {
    for (const phase of ['prefill', 'decode', 'whole'] as const) {
      const startedAt = performance.now();
      using watched = watching([new Request(phase)], () => ({ slots: null, process: 'frozen' }));
      assert.equal(await watched.outcome(), 'hang');
      assert.ok(performance.now() - startedAt < IDLE_MS + 1000);
      const [hang] = watched.hangs;
      assert.ok(hang !== undefined && hang.silentMs >= IDLE_MS && hang.generation === 1);
      assert.match(hang.evidence, /stopped/);
      await watched.outcome(0);
      assert.equal(watched.hangs.length, 1);
    }
  });

  it('looks at nothing while events come', async () => {
    const request = new Request('decode');
    using watched = watching([request], () => ({ slots: null, process: 'frozen' }));
    using _ = meanwhile(() => (request.lifeCount += 1));
    assert.equal(await watched.outcome(1000), 'quiet');
    assert.equal(watched.looks(), 0);
  });

  it('passes over a request that is paused by its reader, and begins anew when it goes on', async () => {
    const request = new Request(null);
    using watched = watching([request], () => ({ slots: null, process: 'idle' }));
    assert.equal(await watched.outcome(2 * IDLE_MS), 'quiet');
    request.phase = 'decode';
    const resumedAt = performance.now();
    assert.equal(await watched.outcome(), 'hang');
    assert.ok(performance.now() - resumedAt >= IDLE_MS - 20);
  });

  it('leaves a prompt without events alone while counters advance', async () => {
    using watched = watching([new Request('prefill')], (look) => ({
      slots: [busy(1, look * 512)],
      process: 'unknown',
    }));
    assert.equal(await watched.outcome(2 * FIRST_TOKEN_MS), 'quiet');
    assert.ok(watched.looks() >= 4);
  });

  it('leaves a whole answer alone while counters advance', async () => {
    using watched = watching([new Request('whole')], (look) => ({ slots: [busy(1, look)], process: 'unknown' }));
    assert.equal(await watched.outcome(2 * FIRST_TOKEN_MS), 'quiet');
  });

  it('leaves a stream alone that shows nothing of the tokens it decodes', async () => {
    using watched = watching([new Request('decode')], (look) => ({ slots: [busy(1, look)], process: 'unknown' }));
    assert.equal(await watched.outcome(), 'quiet');
  });

  it('has patience with a busy process up to the limit of the first token', async () => {
    const startedAt = performance.now();
    using watched = watching([new Request('prefill')], () => ({ slots: null, process: 'busy' }));
    assert.equal(await watched.outcome(), 'hang');
    assert.ok(performance.now() - startedAt >= FIRST_TOKEN_MS);
  });

  it('takes counters that stand still for a hang after that limit', async () => {
    using watched = watching([new Request('decode')], () => ({ slots: [busy(1, 7)], process: 'unknown' }));
    assert.equal(await watched.outcome(), 'hang');
    assert.ok((watched.hangs[0]?.silentMs ?? 0) >= FIRST_TOKEN_MS);
    assert.match(watched.hangs[0]?.evidence ?? '', /stand still/);
  });

  it('reports one silent stream alone while the engine works on others', async () => {
    const stuck = new Request('decode');
    const lively = new Request('decode');
    using watched = watching([stuck, lively], (look) => ({ slots: [busy(1, 7), busy(2, look)], process: 'unknown' }));
    using _ = meanwhile(() => (lively.lifeCount += 1));
    assert.equal(await watched.outcome(), 'silent');
    assert.deepEqual(watched.silent, [stuck]);
    assert.equal(watched.hangs.length, 0);
  });

  it('reports it as well when the engine does not tell its slots', async () => {
    const stuck = new Request('decode');
    const lively = new Request('decode');
    using watched = watching([stuck, lively], () => ({ slots: null, process: 'idle' }));
    using _ = meanwhile(() => (lively.lifeCount += 1));
    assert.equal(await watched.outcome(), 'silent');
    assert.deepEqual(watched.silent, [stuck]);
  });

  it('gives a stream before its first token the longer limit', async () => {
    const stuck = new Request('prefill');
    const lively = new Request('decode');
    const startedAt = performance.now();
    using watched = watching([stuck, lively], (look) => ({ slots: [busy(1, 7), busy(2, look)], process: 'unknown' }));
    using _ = meanwhile(() => (lively.lifeCount += 1));
    assert.equal(await watched.outcome(), 'silent');
    assert.ok(performance.now() - startedAt >= FIRST_TOKEN_MS);
  });

  it('does nothing about an engine that went meanwhile, nor after its stop', async () => {
    using watched = watching([new Request('decode')], () => null);
    assert.equal(await watched.outcome(1000), 'quiet');
    const looks = watched.looks();
    assert.ok(looks > 0);
    watched[Symbol.dispose]();
    assert.equal(await watched.outcome(1000), 'quiet');
    assert.equal(watched.looks(), looks);
  });

  it('sees only the newest generation, and each hang once', async () => {
    const requests = [new Request('decode', 1)];
    using watched = watching(requests, () => ({ slots: null, process: 'idle' }));
    assert.equal(await watched.outcome(), 'hang');
    requests.push(new Request('decode', 2));
    const until = performance.now() + 2000;
    while (watched.hangs.length < 2 && performance.now() < until) await new Promise(setImmediate);
    assert.deepEqual(
      watched.hangs.map(({ generation }) => generation),
      [1, 2],
    );
  });
});
