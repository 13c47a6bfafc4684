import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { writeFakeLlamaServerCommand, writeTinyModel } from '../../../testing/index.ts';
import { anonymousMemory } from '../engine-memory.ts';
import { EngineMemoryWatch } from '../engine-memory-watch.ts';
import { EngineRequest, isAlive, nextEvent, restartOf, supervised, temporaryDirectory } from './engine-fixtures.ts';

const command = process.env['LLAMA_SERVER_PATH'] ?? '';
// Without this the tests would try to run the current directory.
if (command === '') throw new Error('LLAMA_SERVER_PATH is not set: run the tests through npm test.');

const LINUX = { timeout: 30_000, skip: process.platform !== 'linux' && 'memory and processes are read in /proc' };
const MEGABYTE = 1024 * 1024;
const STREAM = { prompt: 'Hello', n_predict: 60, ignore_eos: true, stream: true };

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let slowModel: string;

before(async () => {
  directory = await temporaryDirectory();
  slowModel = `${directory.path}/slow.gguf`;
  await writeTinyModel(slowModel, { preset: 'slow' });
});
after(() => directory[Symbol.asyncDispose]());

const ready = (engine: ReturnType<typeof supervised>['engine']) => engine.ready(AbortSignal.timeout(20_000));

/** The engine as a watch with that limit sees it. */
function withMemoryLimit(engine: ReturnType<typeof supervised>['engine'], memoryLimit: number) {
  return { current: () => engine.current(), status: () => engine.status(), memoryLimit };
}

describe('an engine that has grown to its limit', () => {
  it('is replaced once its stream has ended whole, and what comes meanwhile goes to the next one', LINUX, async () => {
    await using fixture = supervised(command, slowModel, {}, false);
    const { engine, events, exits } = fixture;
    const first = await ready(engine);
    const pid = engine.status().pid ?? 0;
    const freshBytes = (await anonymousMemory(pid)) ?? 0;
    assert.ok(freshBytes > 0);
    const request = new EngineRequest(first, STREAM);
    let grownBytes = 0;
    const states: string[] = [];
    events.on('engine-state', ({ to }) => states.push(to));
    const memoryWatch = new EngineMemoryWatch({
      engine: withMemoryLimit(engine, Math.ceil(freshBytes / MEGABYTE) + 64),
      events,
      intervalMs: 20,
      measure: async (of) => {
        const bytes = await anonymousMemory(of);
        return bytes === null ? null : bytes + (of === pid ? grownBytes : 0);
      },
      onLimit: (generation) => engine.replace(restartOf(generation, request.done)),
    });
    memoryWatch.start();
    try {
      await request.nextLife();
      const reached = nextEvent(events, 'memory');
      const drains = nextEvent(events, 'engine-state');
      grownBytes = 100 * MEGABYTE;
      const { of, ok } = await reached;
      assert.deepEqual({ of, ok }, { of: 'engine', ok: false });
      await drains;
      assert.equal(engine.current(), null, 'it takes no new requests');
      assert.equal(engine.status().state, 'draining');
      let streamEnded = false;
      void request.done.then(() => (streamEnded = true));
      const waiting = ready(engine);
      const recovered = nextEvent(events, 'memory');
      const next = await waiting;
      assert.equal(streamEnded, true);
      assert.match(await request.done, /"stop":true/);
      assert.equal(request.lifeCount, STREAM.n_predict + 1, 'no token is missing');
      assert.equal(next.generation, 2);
      assert.equal((await recovered).ok, true);
      assert.deepEqual(
        exits.map(({ cause, expected }) => [cause, expected]),
        [['memory_limit', true]],
      );
      assert.deepEqual(states, ['draining', 'stopping', 'starting', 'ready']);
      assert.equal(engine.status().crashes, 0);
      assert.equal(await isAlive(pid), false);
    } finally {
      memoryWatch.stop();
    }
  });

  it('can be stopped while its requests finish, and leaves nothing behind', LINUX, async () => {
    await using fixture = supervised(command, slowModel, {}, false);
    const { engine, events, exits } = fixture;
    const first = await ready(engine);
    const pid = engine.status().pid ?? 0;
    const request = new EngineRequest(first, { ...STREAM, n_predict: 5000 } as never);
    await request.nextLife();
    const replaced = assert.rejects(engine.replace(restartOf(1, new Promise(() => undefined))));
    await nextEvent(events, 'engine-state');
    const waiting = assert.rejects(ready(engine), { code: 'engine_unavailable' });
    const lost = assert.rejects(request.done);
    await engine.stop();
    await Promise.all([replaced, waiting, lost]);
    assert.deepEqual([engine.status().state, await isAlive(pid)], ['stopped', false]);
    assert.deepEqual(
      exits.map(({ cause, expected }) => [cause, expected]),
      [['stopped', true]],
    );
  });

  it('has crashed when it dies meanwhile, and comes back all the same', LINUX, async () => {
    await using fixture = supervised(command, slowModel, {}, false);
    const { engine, events, exits } = fixture;
    await ready(engine);
    const replaced = engine.replace(restartOf(1, new Promise(() => undefined)));
    await nextEvent(events, 'engine-state');
    const waiting = ready(engine);
    process.kill(engine.status().pid ?? 0, 'SIGKILL');
    assert.equal((await waiting).generation, 2);
    assert.equal((await replaced).to, 2);
    assert.deepEqual(
      exits.map(({ cause, expected }) => [cause, expected]),
      [['killed', false]],
    );
    assert.equal(engine.status().crashes, 1);
  });

  it('is killed when it freezes meanwhile', LINUX, async () => {
    await using fixture = supervised(command, slowModel, {}, false);
    const { engine, events, exits } = fixture;
    await ready(engine);
    const replaced = engine.replace(restartOf(1, new Promise(() => undefined)));
    await nextEvent(events, 'engine-state');
    const waiting = ready(engine);
    process.kill(engine.status().pid ?? 0, 'SIGSTOP');
    assert.equal((await engine.vitalSigns(1, 500))?.process, 'frozen');
    engine.replaceHung(1, 2000, 'a test');
    assert.equal((await waiting).generation, 2);
    assert.equal((await replaced).to, 2);
    assert.equal(exits[0]?.cause, 'hung');
  });

  it('is ended by force when it does not hear SIGTERM', LINUX, async () => {
    await using double = await writeFakeLlamaServerCommand({ faults: { ignoreSigterm: true, firstStarts: 1 } });
    await using fixture = supervised(double.command, slowModel, {}, false);
    const { engine, exits } = fixture;
    await ready(engine);
    const pid = engine.status().pid ?? 0;
    const replaced = await engine.replace({
      ...restartOf(1, Promise.resolve()),
      drained: () => Promise.reject(new Error('told by nobody')),
    });
    assert.deepEqual([replaced.from, replaced.to, replaced.overlap], [1, 2, false]);
    assert.deepEqual([exits[0]?.cause, await isAlive(pid)], ['memory_limit', false]);
  });
});
