import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LlameroEmitter } from '../../events.ts';
import { HangWatch } from '../../resilience/hang-watch.ts';
import { startFakeLlamaServer, writeFakeLlamaServerCommand, writeTinyModel } from '../../../testing/index.ts';
import { AttachedEngine } from '../attached-engine.ts';
import type { EngineEndpoint } from '../engine-endpoint.ts';
import { EngineRequest, isAlive, nextEvent, restartOf, supervised, temporaryDirectory } from './engine-fixtures.ts';

const command = process.env['LLAMA_SERVER_PATH'] ?? '';
// Without this the tests would try to run the current directory.
if (command === '') throw new Error('LLAMA_SERVER_PATH is not set: run the tests through npm test.');

const DEADLINE = { timeout: 30_000 };
const LINUX = { ...DEADLINE, skip: process.platform !== 'linux' && 'the state of a process is read in /proc' };
const IDLE_MS = 1500;
/** Between the moment an engine is frozen and its end, with 1 s for the finding and what the kill takes. */
const NOTICED_MS = IDLE_MS + 1000 + 500;
const NEVER_ENDING = { n_predict: -1, ignore_eos: true, stream: true };
/** Takes the slow model some seconds to read. */
const LONG_PROMPT = 'llama '.repeat(50);

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let slowModel: string;

before(async () => {
  directory = await temporaryDirectory();
  slowModel = `${directory.path}/slow.gguf`;
  await writeTinyModel(slowModel, { preset: 'slow' });
});
after(() => directory[Symbol.asyncDispose]());

/** Watches these requests; hangs are dealt with as in the pipeline. */
function watch(engine: EngineEndpoint, requests: readonly EngineRequest[], limits: object = {}) {
  const silent: EngineRequest[] = [];
  const hangWatch = new HangWatch<EngineRequest>({
    idleMs: IDLE_MS,
    firstTokenMs: 20_000,
    ...limits,
    engine,
    exchanges: () => requests,
    onHang: (generation, silentMs, evidence) => engine.replaceHung(generation, silentMs, evidence),
    onSilent: (request) => silent.push(request),
  });
  hangWatch.start();
  return { silent, [Symbol.dispose]: () => hangWatch.stop() };
}

describe('a frozen llama-server', () => {
  const phases: [name: string, body: Record<string, unknown>, args: string[]][] = [
    ['in the middle of a stream', { prompt: 'Hello', ...NEVER_ENDING }, []],
    [
      'in the middle of a prompt',
      { prompt: LONG_PROMPT, ...NEVER_ENDING, return_progress: true },
      ['--batch-size', '64', '--ubatch-size', '64'],
    ],
    ['in the middle of a whole answer', { prompt: 'Hello', n_predict: 2000, ignore_eos: true, stream: false }, []],
  ];
  for (const [name, body, args] of phases) {
    it(`is replaced when it freezes ${name}`, LINUX, async () => {
      await using fixture = supervised(command, slowModel, { args });
      const { engine, events, exits } = fixture;
      const first = await engine.ready(AbortSignal.timeout(20_000));
      const pid = engine.status().pid ?? 0;
      const request = new EngineRequest(first, body as never);
      using _ = watch(engine, [request]);
      if (body['stream'] === true) await request.nextLife();
      const exit = nextEvent(events, 'engine-exit');
      const hang = nextEvent(events, 'engine-hang');
      const frozenAt = performance.now();
      process.kill(pid, 'SIGSTOP');
      const lost = assert.rejects(request.done);
      assert.match((await hang).evidence, /stopped/);
      assert.equal(engine.current(), null, 'it takes no more requests');
      await lost;
      const { message, details } = await engine.explainLoss(first.generation);
      assert.match(message, /no sign of life/);
      assert.deepEqual(details, { cause: 'hung', engineEnded: true });
      await exit;
      assert.ok(performance.now() - frozenAt < NOTICED_MS, `${performance.now() - frozenAt}`);
      const next = await engine.ready(AbortSignal.timeout(20_000));
      assert.equal(next.generation, 2);
      assert.deepEqual(
        exits.map(({ cause, expected }) => [cause, expected]),
        [['hung', false]],
      );
      assert.equal(engine.status().crashes, 1);
      assert.equal(await isAlive(pid), false);
      // What comes late for the old one does nothing to the new one.
      engine.replaceHung(1, 1, 'late');
      await assert.rejects(engine.replace(restartOf(1, Promise.resolve())), { code: 'engine_unavailable' });
      assert.equal(engine.current(), next);
      assert.match((await engine.explainLoss(1)).message, /no sign of life/);
    });
  }
});

describe('a busy llama-server', () => {
  it('is left alone during a long prompt, with and without progress events', LINUX, async () => {
    await using fixture = supervised(command, slowModel, { args: ['--batch-size', '32', '--ubatch-size', '32'] });
    const { engine, exits } = fixture;
    const ready = await engine.ready(AbortSignal.timeout(20_000));
    for (const progress of [true, false]) {
      const body = { prompt: LONG_PROMPT, n_predict: 2, stream: true, cache_prompt: false, return_progress: progress };
      const request = new EngineRequest(ready, body);
      // Far shorter than the prompt takes.
      using watched = watch(engine, [request], { idleMs: 250, firstTokenMs: 3000, lookIntervalMs: 300 });
      assert.match(await request.done, /"stop":true/);
      assert.deepEqual([watched.silent, exits], [[], []]);
    }
  });

  it('is left alone during one batch that takes long', LINUX, async () => {
    await using fixture = supervised(command, slowModel, { args: ['--batch-size', '4096', '--ubatch-size', '4096'] });
    const { engine, exits } = fixture;
    const ready = await engine.ready(AbortSignal.timeout(20_000));
    const request = new EngineRequest(ready, { prompt: LONG_PROMPT, n_predict: 2, stream: true } as never);
    using _ = watch(engine, [request], { idleMs: 250, firstTokenMs: 30_000, lookIntervalMs: 300 });
    assert.match(await request.done, /"stop":true/);
    assert.deepEqual(exits, []);
  });
});

/** Follows one request to a double with these faults; gives the time until the engine was replaced. */
async function wedge(behaviour: Parameters<typeof writeFakeLlamaServerCommand>[0], body: object, limits: object) {
  await using double = await writeFakeLlamaServerCommand({ pingMs: 50, ...behaviour });
  await using fixture = supervised(double.command, slowModel);
  const { engine, events } = fixture;
  const ready = await engine.ready(AbortSignal.timeout(20_000));
  const request = new EngineRequest(ready, body as never);
  using _ = watch(engine, [request], limits);
  const hang = await nextEvent(events, 'engine-hang');
  await assert.rejects(request.done);
  assert.ok(request.text.includes(':\n\n') || request.text === '', 'comments kept coming');
  assert.equal((await engine.ready(AbortSignal.timeout(20_000))).generation, 2);
  return hang;
}

describe('a wedged llama-server, as the double plays it', () => {
  it('is found while comments keep coming and /health says 200', LINUX, async () => {
    const faults = { after: { tokens: 5, fault: 'hang' as const }, hangSlots: true, firstStarts: 1 };
    const hang = await wedge({ faults }, { prompt: 'x', n_predict: 50, stream: true }, { idleMs: 500 });
    assert.ok(hang.silentMs >= 500 && hang.silentMs < 1500);
    assert.match(hang.evidence, /\/slots is not answered/);
  });

  it('is found before its first token when its process does nothing', LINUX, async () => {
    const faults = { after: { tokens: 0, fault: 'hang' as const }, hangSlots: true, firstStarts: 1 };
    const hang = await wedge({ faults }, { prompt: 'x', stream: false }, { idleMs: 500 });
    assert.ok(hang.silentMs < 1500);
    assert.match(hang.evidence, /does nothing/);
  });

  it('is found at the limit of the first token when its process is busy', LINUX, async () => {
    const faults = { after: { tokens: 0, fault: 'hang' as const }, hangSlots: true, hangBusy: true, firstStarts: 1 };
    const limits = { idleMs: 400, firstTokenMs: 2500, lookIntervalMs: 300 };
    const hang = await wedge({ faults }, { prompt: 'x', stream: false }, limits);
    assert.ok(hang.silentMs >= 2500);
    assert.match(hang.evidence, /busy/);
  });

  it('is found at that limit when /slots is answered, but stands still', LINUX, async () => {
    const faults = { after: { tokens: 3, fault: 'hang' as const }, firstStarts: 1 };
    const limits = { idleMs: 400, firstTokenMs: 1500, lookIntervalMs: 300 };
    const hang = await wedge({ faults }, { prompt: 'x', n_predict: 9, stream: true }, limits);
    assert.ok(hang.silentMs >= 1500);
    assert.match(hang.evidence, /stand still/);
  });

  it('is no wedge: a prompt of three minutes, in compressed time', LINUX, async () => {
    for (const return_progress of [true, false]) {
      await using double = await writeFakeLlamaServerCommand({ prefillMs: 3600, prefillSteps: 36, pingMs: 50 });
      await using fixture = supervised(double.command, slowModel);
      const { engine, exits } = fixture;
      const ready = await engine.ready(AbortSignal.timeout(20_000));
      const body = { prompt: LONG_PROMPT, n_predict: 3, stream: true, return_progress };
      const request = new EngineRequest(ready, body);
      // Compressed 50 times: 30 s and 60 s become these.
      using watched = watch(engine, [request], { idleMs: 600, firstTokenMs: 1200, lookIntervalMs: 200 });
      assert.match(await request.done, /"stop":true/);
      assert.deepEqual([watched.silent, exits], [[], []]);
    }
  });
});

describe('a llama-server of somebody else', () => {
  it('is left when it hangs, and used again when it answers', LINUX, async () => {
    await using double = await startFakeLlamaServer({ tokensPerSecond: 100 });
    const events = new LlameroEmitter();
    const engine = new AttachedEngine({ url: double.url, events });
    try {
      const first = await engine.ready(AbortSignal.timeout(20_000));
      const request = new EngineRequest(first, { prompt: 'x', n_predict: 5000, stream: true } as never);
      using _ = watch(engine, [request], { idleMs: 500 });
      await request.nextLife();
      const exit = nextEvent(events, 'engine-exit');
      const frozenAt = performance.now();
      process.kill(double.pid, 'SIGSTOP');
      const lost = assert.rejects(request.done);
      const { cause, expected } = await exit;
      assert.deepEqual([cause, expected], ['hung', false]);
      assert.ok(performance.now() - frozenAt < 500 + 1000 + 500);
      assert.equal(engine.current(), null);
      await lost;
      assert.equal((await engine.explainLoss(first.generation)).details['cause'], 'hung');
      // It is not there again before it answers.
      await assert.rejects(engine.ready(AbortSignal.timeout(300)));
      process.kill(double.pid, 'SIGCONT');
      const again = await engine.ready(AbortSignal.timeout(20_000));
      assert.equal(again.generation, 2);
      assert.notEqual(again.dispatcher, first.dispatcher);
      engine.replaceHung(1, 1, 'late');
      await assert.rejects(engine.replace(), { code: 'invalid_request' });
      assert.equal(engine.current(), again);
    } finally {
      await engine.stop();
    }
  });
});
