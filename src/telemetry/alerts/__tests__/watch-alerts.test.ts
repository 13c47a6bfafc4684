import assert from 'node:assert/strict';
import { on } from 'node:events';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ALERT_NAMES, type AlertName, type EngineStateName } from '../../../core/events.ts';
import { ALERTS } from '../alert-definitions.ts';
import { watchProcess } from '../process-probe.ts';
import { failed, MINUTE, STEP_MS, WatchedSource } from './watched-source.ts';

interface Trial {
  readonly title: string;
  /** What happens before each evaluation. */
  readonly each: (source: WatchedSource, step: number) => void;
  /** In minutes; default: as long as the alert wants its symptom to last, and a window more. */
  readonly minutes?: number;
  readonly firing: readonly string[];
}

const GIGABYTE = 1024 ** 3;
const atFirst = (act: (source: WatchedSource) => void) => (source: WatchedSource, step: number) => {
  if (step === 0) act(source);
};
const inState = (state: EngineStateName) => atFirst((source) => (source.engine = { ...source.engine, state }));
const withMemory = (bytes: (minute: number) => number, growthBytesPerRequest: number | null) => {
  const limits = { limitBytes: 8 * GIGABYTE, gpuBytes: null, growthBytesPerRequest };
  return (source: WatchedSource, step: number) => {
    source.engine = { ...source.engine, memory: { usedBytes: bytes(step / MINUTE), ...limits } };
  };
};
const withMemoryShort = (of: 'llamero' | 'engine' | 'machine', ok = false) =>
  atFirst(({ events }) => events.publish('memory', { of, ok, usedBytes: 1, limitBytes: 1, message: '' }));
const withProcess = (process: Partial<WatchedSource['process']>) =>
  atFirst((source) => (source.process = { ...source.process, ...process }));
const withQueue = (queued: number, maxQueue: number) =>
  atFirst((source) => (source.engine = { ...source.engine, queued, maxQueue }));
const withResident = (residentBytes: number) =>
  atFirst((source) => {
    source.engine = { ...source.engine, memoryLimitBytes: 2 * GIGABYTE };
    source.process = { ...source.process, residentBytes };
  });
const slow = (ms: number) => ({ queueMs: 10, prefillMs: ms, firstTokenMs: ms });

/** For each alert: it fires on its symptom, and not on what only looks like it. */
const TRIALS: Readonly<Record<AlertName, readonly Trial[]>> = {
  LlameroErrorRatioHigh: [
    {
      title: 'one in ten fails',
      each: (source) => (source.settle(9), source.settle(1, failed('engine_error'))),
      firing: ['LlameroErrorRatioHigh'],
    },
    {
      title: 'all fail',
      each: (source) => source.settle(1, failed('queue_full')),
      firing: ['LlameroErrorRatioHigh'],
    },
    {
      title: 'one in ten is refused for want of memory',
      each: (source) => (source.settle(9), source.refuse('memory_pressure')),
      firing: ['LlameroErrorRatioHigh'],
    },
    {
      title: 'one in ten fails, and many callers without a key come on top',
      each: (source) => {
        source.settle(9);
        source.settle(1, failed('engine_error'));
        for (let count = 0; count < 90; count += 1) source.refuse('invalid_api_key');
      },
      firing: ['LlameroErrorRatioHigh'],
    },
    { title: 'callers without a key only', each: (source) => source.refuse('invalid_api_key'), firing: [] },
    {
      title: 'one in thirty fails',
      each: (source) => (source.settle(29), source.settle(1, failed('engine_error'))),
      firing: [],
    },
    {
      title: 'all fail, but a few only',
      each: (source, step) => step % (2 * MINUTE) === 0 && source.settle(1, failed('engine_error')),
      firing: [],
    },
    {
      title: 'callers do wrong, or go away',
      each: (source) => {
        source.settle(3, failed('invalid_request'));
        source.settle(3, failed('rate_limit_exceeded'));
        source.settle(3, { ...failed('cancelled'), outcome: 'cancelled' });
      },
      firing: [],
    },
  ],
  LlameroSilentTruncation: [
    {
      title: 'one stream, half an hour ago',
      each: atFirst(({ events }) => events.publish('stream-truncated', { id: 'r', route: 'completions' })),
      minutes: 30,
      firing: ['LlameroSilentTruncation'],
    },
    {
      title: 'streams that say that they were cut',
      each: (source) => source.settle(1, { ...failed('cancelled'), outcome: 'cancelled', headSent: true }),
      firing: [],
    },
  ],
  LlameroFirstTokenSlow: [
    {
      title: 'one model of two is slow',
      each: (source) => (source.settle(3, { model: 'fast' }), source.settle(3, { ...slow(12_000), model: 'slow' })),
      firing: ['LlameroFirstTokenSlow slow'],
    },
    {
      title: 'one in thirty is slow',
      each: (source) => (source.settle(29), source.settle(1, slow(60_000))),
      firing: [],
    },
    { title: 'nothing comes', each: () => undefined, firing: [] },
    { title: 'not quite as slow', each: (source) => source.settle(1, slow(9000)), firing: [] },
  ],
  LlameroQueueWaitLong: [
    {
      title: 'a tenth waits, and answers no stream',
      each: (source) => (source.settle(9), source.settle(1, { ...failed('queue_timeout'), queueMs: 30_000 })),
      firing: ['LlameroErrorRatioHigh', 'LlameroQueueWaitLong'],
    },
    { title: 'waits that are bearable', each: (source) => source.settle(2, { queueMs: 9000 }), firing: [] },
  ],
  LlameroQueueNearlyFull: [
    { title: '9 of 10 places', each: withQueue(9, 10), firing: ['LlameroQueueNearlyFull'] },
    { title: '8 of 10 places', each: withQueue(8, 10), firing: [] },
    { title: '90 of 200 places', each: withQueue(90, 200), firing: [] },
    { title: 'there are no places', each: withQueue(0, 0), firing: [] },
    {
      title: 'full for a moment',
      each: (source, step) => withQueue(step === 2 ? 10 : 0, 10)(source, 0),
      firing: [],
    },
  ],
  LlameroEngineDown: [
    { title: 'loading', each: inState('starting'), firing: ['LlameroEngineDown 1'] },
    { title: 'backing off', each: inState('backing-off'), firing: ['LlameroEngineDown 1'] },
    { title: 'loading for a while', each: inState('starting'), minutes: 4, firing: [] },
    { title: 'stopped by somebody', each: inState('stopped'), firing: [] },
    {
      title: 'ready now and then',
      each: (source, step) => {
        source.engine = { ...source.engine, state: step % 8 === 0 ? 'ready' : 'starting' };
      },
      firing: [],
    },
  ],
  LlameroEngineFailed: [
    { title: 'given up', each: inState('failed'), minutes: 1, firing: ['LlameroEngineFailed 1'] },
    {
      title: 'given up for a moment between two looks',
      each: atFirst(({ events }) => events.publish('engine-state', { from: 'crashed', to: 'failed', generation: 1 })),
      minutes: 1,
      firing: ['LlameroEngineFailed 1'],
    },
    { title: 'crashed', each: inState('backing-off'), minutes: 1, firing: [] },
  ],
  LlameroEngineCrashLoop: [
    {
      title: 'three crashes in eight minutes',
      each: (source, step) => step % (4 * MINUTE) === 0 && source.crash(),
      minutes: 9,
      firing: ['LlameroEngineCrashLoop 1'],
    },
    {
      title: 'a crash every six minutes',
      each: (source, step) => step % (6 * MINUTE) === 0 && source.crash(),
      minutes: 60,
      firing: [],
    },
    {
      title: 'ends that somebody asked for',
      each: ({ events }) => {
        const facts = { cause: 'stopped', message: '', code: 0, signal: null, log: [] } as const;
        events.publish('engine-exit', { generation: 1, expected: true, ...facts });
      },
      firing: [],
    },
  ],
  LlameroEngineHung: [
    {
      title: 'once, 20 minutes ago',
      each: atFirst(({ events }) => events.publish('engine-hang', { generation: 1, silentMs: 1, evidence: '' })),
      minutes: 20,
      firing: ['LlameroEngineHung 1'],
    },
    {
      title: 'once, 40 minutes ago',
      each: atFirst(({ events }) => events.publish('engine-hang', { generation: 1, silentMs: 1, evidence: '' })),
      minutes: 40,
      firing: [],
    },
  ],
  LlameroCircuitOpen: [
    {
      title: 'open, half open, open',
      each: (source, step) => {
        source.engine = { ...source.engine, circuit: step % 2 === 0 ? 'open' : 'half-open' };
      },
      firing: ['LlameroCircuitOpen 1'],
    },
    {
      title: 'open for half a minute',
      each: (source, step) => {
        source.engine = { ...source.engine, circuit: step < MINUTE / 2 ? 'open' : 'closed' };
      },
      firing: [],
    },
  ],
  LlameroEngineMemoryGrowing: [
    {
      title: '60 MB a minute, 3 GB to go',
      each: withMemory((minute) => 4.5 * GIGABYTE + minute * 60 * 1024 ** 2, 1000),
      firing: ['LlameroEngineMemoryGrowing 1'],
    },
    {
      title: 'the same, but not with requests',
      each: withMemory((minute) => 4.5 * GIGABYTE + minute * 60 * 1024 ** 2, null),
      firing: [],
    },
    { title: 'much, and steady', each: withMemory((minute) => 7.9 * GIGABYTE + (minute % 2), 1000), firing: [] },
    { title: 'not known here', each: () => undefined, firing: [] },
  ],
  LlameroMemoryShort: [
    { title: 'the machine', each: withMemoryShort('machine'), firing: ['LlameroMemoryShort machine'] },
    {
      title: 'the engine, and no more after a minute',
      each: (source, step) => {
        withMemoryShort('engine')(source, step);
        if (step === MINUTE) withMemoryShort('engine', true)(source, 0);
      },
      firing: [],
    },
  ],
  LlameroMemoryNearLimit: [
    { title: '1.7 GB of 2 GB', each: withResident(1.7 * GIGABYTE), firing: ['LlameroMemoryNearLimit'] },
    { title: '1.6 GB of 2 GB', each: withResident(1.6 * GIGABYTE), firing: [] },
    { title: 'no limit is known', each: withProcess({ residentBytes: 64 * GIGABYTE }), firing: [] },
  ],
  LlameroFileDescriptorsLow: [
    {
      title: '900 of 1000',
      each: withProcess({ fileDescriptors: { open: 900, most: 1000 } }),
      firing: ['LlameroFileDescriptorsLow'],
    },
    { title: '800 of 1000', each: withProcess({ fileDescriptors: { open: 800, most: 1000 } }), firing: [] },
    { title: 'not known here', each: withProcess({ fileDescriptors: null }), firing: [] },
  ],
  LlameroEventLoopDelayed: [
    { title: '300 ms', each: withProcess({ eventLoopDelayMs: 300 }), firing: ['LlameroEventLoopDelayed'] },
    {
      title: 'one long stall',
      each: (source, step) => (source.process = { ...source.process, eventLoopDelayMs: step === 5 ? 5000 : 21 }),
      firing: [],
    },
  ],
  LlameroRateLimitStoreDown: [
    {
      title: 'away',
      each: atFirst(({ events }) => events.publish('rate-limit-store', { ok: false, message: '' })),
      firing: ['LlameroRateLimitStoreDown'],
    },
    {
      title: 'away and back again',
      each: (source, step) => source.events.publish('rate-limit-store', { ok: step % 3 === 0, message: '' }),
      firing: [],
    },
  ],
};

for (const name of ALERT_NAMES) {
  const { forMs, windowMs } = ALERTS[name];
  describe(name, () => {
    for (const { title, each, minutes, firing } of TRIALS[name]) {
      test(`${title}: ${firing.join(', ') || 'nothing fires'}`, () => {
        using source = sourceOf();
        const enoughSteps = (forMs + (windowMs ?? 0)) / STEP_MS + 4;
        let step = 0;
        source.steps(minutes === undefined ? enoughSteps : minutes * MINUTE, () => each(source, step++));
        assert.deepEqual(source.firing(), firing);
      });
    }

    test('fires when its symptom has lasted for its time and not before, and is resolved without it', () => {
      using source = sourceOf();
      const { each } = TRIALS[name][0] ?? assert.fail();
      let step = 0;
      const happens = () => each(source, step++);
      const own = () => source.changes.filter((change) => change.name === name);
      // Until the symptom is there, which takes some requests or crashes.
      while (own().length === 0) source.steps(1, happens);
      if (forMs > 0) {
        assert.deepEqual(
          own().map(({ state }) => state),
          ['pending'],
        );
        source.steps(forMs / STEP_MS - 1, happens);
        assert.deepEqual(
          own().map(({ state }) => state),
          ['pending'],
          'not before its time',
        );
        source.steps(1, happens);
      }
      assert.equal(own().at(-1)?.state, 'firing');
      recover(source);
      source.steps(Math.max(windowMs ?? 0, STEP_MS) / STEP_MS + 1);
      assert.deepEqual(source.firing(), []);
      const { state, since, resolvedAt, description, runbook } = own().at(-1) ?? assert.fail();
      assert.equal(state, 'resolved');
      assert.ok(Date.parse(resolvedAt ?? '') > Date.parse(since));
      assert.match(description, /^[A-Z1-9].*\.$/);
      assert.doesNotMatch(description, /undefined|NaN/);
      assert.equal(runbook, `docs/runbook.md#${name.toLowerCase()}`);
    });
  });
}

describe('watching', () => {
  test('an uneventful day shows nothing', () => {
    using source = sourceOf();
    source.steps(24 * 60, () => source.settle(5));
    assert.deepEqual(source.watch.report(), []);
    assert.deepEqual(source.changes, []);
  });

  test('what is urgent comes first', () => {
    using source = sourceOf();
    source.engine = { ...source.engine, state: 'failed' };
    source.events.publish('engine-hang', { generation: 1, silentMs: 1, evidence: '' });
    source.crash();
    source.crash();
    source.crash();
    source.steps(1);
    assert.deepEqual(
      source.watch.report().map(({ name, state }) => `${state} ${name}`),
      [
        'firing LlameroEngineFailed',
        'firing LlameroEngineCrashLoop',
        'firing LlameroEngineHung',
        'pending LlameroEngineDown',
      ],
    );
  });

  test('models beyond those that are told apart are one', () => {
    using source = sourceOf({ rules: { LlameroFirstTokenSlow: { for: 0 } } });
    for (let model = 0; model < 500; model += 1) source.settle(1, { model: `m${model}`, ...slow(20_000) });
    source.steps(1);
    assert.equal(source.watch.report().length, 51);
  });

  test('an alert that is off is not looked for, and a window that was set is kept to', () => {
    const rules = { LlameroEngineCrashLoop: { enabled: false }, LlameroEngineHung: { window: 2 * STEP_MS } };
    using source = sourceOf({ rules });
    for (let crash = 0; crash < 9; crash += 1) source.crash();
    source.events.publish('engine-hang', { generation: 1, silentMs: 1, evidence: '' });
    assert.deepEqual(source.steps(1).firing(), ['LlameroEngineHung 1']);
    assert.deepEqual(source.steps(1).firing(), ['LlameroEngineHung 1']);
    assert.deepEqual(source.steps(1).firing(), []);
  });

  test('by itself, and no more after its end', (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    using source = sourceOf();
    source.crash();
    source.crash();
    source.crash();
    t.mock.timers.tick(STEP_MS);
    assert.deepEqual(source.firing(), ['LlameroEngineCrashLoop 1']);
    source.watch.stop();
    source.watch.stop();
    source.events.publish('engine-hang', { generation: 1, silentMs: 1, evidence: '' });
    t.mock.timers.tick(STEP_MS);
    assert.deepEqual(source.firing(), ['LlameroEngineCrashLoop 1'], 'what was found stays readable');
    assert.equal(source.events.listenerCount('settled'), 0);
  });

  test('what is watched breaks: the process goes on, with a warning', { timeout: 10_000 }, async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    using source = sourceOf();
    source.status = () => {
      throw new Error('broken');
    };
    const warnings = on(process, 'warning');
    t.mock.timers.tick(STEP_MS);
    // Node 22 warns of its mocked timers, too.
    for await (const [warning] of warnings)
      if (String(warning).includes('Alerts were not evaluated: Error: broken')) break;
  });
});

describe('the own process', () => {
  test('event loop and file descriptors', { timeout: 10_000 }, async () => {
    using probe = watchProcess();
    assert.equal(probe.read().fileDescriptors, null, 'not counted yet');
    await lateTurn(300);
    const { eventLoopDelayMs: late, residentBytes } = probe.read();
    assert.ok(residentBytes > process.memoryUsage().heapUsed, `${residentBytes} bytes`);
    assert.ok(late > 250, `late by ${late} ms`);
    if (process.platform !== 'linux') return;
    let reading = probe.read();
    while (reading.fileDescriptors === null) {
      await nextTurn();
      reading = probe.read();
    }
    const { open, most } = reading.fileDescriptors;
    assert.ok(open > 2 && open < most, `${open} of ${most}`);
  });
});

/** A turn of the event loop that takes so long, between two that the monitor sees. */
async function lateTurn(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(() => {
    const end = performance.now() + ms;
    while (performance.now() < end);
    setTimeout(resolve, 40);
  }, 40);
  await promise;
}

/** Everything is well again. */
function recover(source: WatchedSource): void {
  source.engine = { state: 'ready', circuit: 'closed', memory: null };
  source.process = { fileDescriptors: { open: 20, most: 1000 }, residentBytes: 1e8, eventLoopDelayMs: 21 };
  for (const owner of ['llamero', 'engine', 'machine'] as const) withMemoryShort(owner, true)(source, 0);
  source.events.publish('rate-limit-store', { ok: true, message: '' });
}

function sourceOf(options?: ConstructorParameters<typeof WatchedSource>[0]): WatchedSource & Disposable {
  const source = new WatchedSource(options);
  return Object.assign(source, { [Symbol.dispose]: () => source.watch.stop() });
}
