import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type EngineEvent, type EngineState, INITIAL_ENGINE_STATE } from '../engine-state.ts';
import type { ExitCause } from '../exit-cause.ts';
import { transition } from '../lifecycle.ts';
import { restartDelayMs, type RestartPolicy } from '../restart-policy.ts';

const POLICY: RestartPolicy = { maxRestarts: 2, window: 60_000, delay: 200, backoffMultiplier: 2, maxDelay: 30_000 };
const CRASH: ExitCause = { name: 'segmentation_fault', message: 'crashed', final: false };
const FINAL: ExitCause = { name: 'wrong_option', message: 'no such option', final: true };

/** Feeds events one after the other; gives the last state and all effects. */
function run(
  events: readonly EngineEvent[],
  from: EngineState = INITIAL_ENGINE_STATE,
): { state: EngineState; effects: string[] } {
  let state = from;
  const effects: string[] = [];
  for (const event of events) {
    const next = transition(state, event, POLICY);
    state = next.state;
    effects.push(...next.effects.map((effect) => (effect.type === 'delay' ? `delay ${effect.delayMs}` : effect.type)));
  }
  return { state, effects };
}

const start: EngineEvent = { type: 'start' };
const ready = (generation: number, at = 0): EngineEvent => ({ type: 'ready', generation, at });
const exited = (generation: number, at: number, cause = CRASH): EngineEvent => ({
  type: 'exited',
  generation,
  at,
  cause,
});
const cleared = (generation: number): EngineEvent => ({ type: 'cleared', generation, random: 1 });
const delayOver = (generation: number): EngineEvent => ({ type: 'delay-over', generation });
const stop: EngineEvent = { type: 'stop' };
const drain: EngineEvent = { type: 'drain' };
const HUNG: ExitCause = { name: 'hung', message: 'silent', final: false };
const hung = (generation: number, at = 5): EngineEvent => ({ type: 'hung', generation, at, cause: HUNG });
const replace = (generation: number): EngineEvent => ({ type: 'replace', generation, cause: 'memory_limit' });
const succeed = (generation: number): EngineEvent => ({ type: 'succeed', generation, cause: 'restart' });
const verified = (generation: number): EngineEvent => ({ type: 'verified', generation });
const drained = (generation: number): EngineEvent => ({ type: 'drained', generation });

describe('the life of an engine', () => {
  const table: [name: string, events: EngineEvent[], state: EngineState['name'], effects: string[]][] = [
    ['start spawns', [start], 'starting', ['spawn']],
    ['a second start changes nothing', [start, start], 'starting', ['spawn']],
    ['verified is ready', [start, ready(1)], 'ready', ['spawn']],
    ['stop of a ready engine terminates it', [start, ready(1), stop], 'stopping', ['spawn', 'terminate']],
    ['stop while starting terminates it', [start, stop], 'stopping', ['spawn', 'terminate']],
    ['readiness after the stop is ignored', [start, stop, ready(1)], 'stopping', ['spawn', 'terminate']],
    [
      'the end of a stopping engine is no crash',
      [start, ready(1), stop, exited(1, 5)],
      'stopped',
      ['spawn', 'terminate'],
    ],
    ['stop before any start does nothing', [stop], 'stopped', []],
    ['drain takes no new requests', [start, ready(1), drain], 'draining', ['spawn']],
    ['drain while starting does nothing', [start, drain], 'starting', ['spawn']],
    ['a drained engine that ends is stopped', [start, ready(1), drain, exited(1, 5)], 'stopped', ['spawn']],
    ['a drained engine can be stopped', [start, ready(1), drain, stop], 'stopping', ['spawn', 'terminate']],
    ['a crash is cleared first', [start, ready(1), exited(1, 5)], 'crashed', ['spawn', 'clear']],
    [
      'then backs off, at once the first time',
      [start, ready(1), exited(1, 5), cleared(1)],
      'backing-off',
      ['spawn', 'clear', 'delay 0'],
    ],
    [
      'then starts anew',
      [start, ready(1), exited(1, 5), cleared(1), delayOver(1)],
      'starting',
      ['spawn', 'clear', 'delay 0', 'spawn'],
    ],
    ['a crash while starting counts', [start, exited(1, 5), cleared(1)], 'backing-off', ['spawn', 'clear', 'delay 0']],
    ['a final cause is final at once', [start, exited(1, 5, FINAL), cleared(1)], 'failed', ['spawn', 'clear']],
    ['stop while crashed waits for nothing', [start, exited(1, 5), stop], 'stopped', ['spawn', 'clear']],
    ['and its clearing changes nothing more', [start, exited(1, 5), stop, cleared(1)], 'stopped', ['spawn', 'clear']],
    [
      'stop while backing off cancels the restart',
      [start, exited(1, 5), cleared(1), stop],
      'stopped',
      ['spawn', 'clear', 'delay 0', 'cancel-delay'],
    ],
    [
      'a delay that fires too late is ignored',
      [start, exited(1, 5), cleared(1), stop, delayOver(1)],
      'stopped',
      ['spawn', 'clear', 'delay 0', 'cancel-delay'],
    ],
    [
      'stop of a failed engine',
      [start, exited(1, 5, FINAL), cleared(1), stop],
      'stopped',
      ['spawn', 'clear', 'cancel-delay'],
    ],
    [
      'an explicit start leaves failed',
      [start, exited(1, 5, FINAL), cleared(1), start],
      'starting',
      ['spawn', 'clear', 'cancel-delay', 'spawn'],
    ],
    [
      'an exit of an older generation is ignored',
      [start, exited(1, 5), cleared(1), delayOver(1), exited(1, 6)],
      'starting',
      ['spawn', 'clear', 'delay 0', 'spawn'],
    ],
    [
      'readiness of an older generation is ignored',
      [start, exited(1, 5), cleared(1), delayOver(1), ready(1)],
      'starting',
      ['spawn', 'clear', 'delay 0', 'spawn'],
    ],
    [
      'a second exit of the same process is ignored',
      [start, exited(1, 5), exited(1, 6)],
      'crashed',
      ['spawn', 'clear'],
    ],
  ];
  const succession: typeof table = [
    ['a successor starts beside it', [start, ready(1), succeed(1)], 'ready', ['spawn', 'spawn']],
    ['one at a time', [start, ready(1), succeed(1), succeed(1)], 'ready', ['spawn', 'spawn']],
    ['and no drain meanwhile', [start, ready(1), succeed(1), replace(1)], 'ready', ['spawn', 'spawn']],
    ['only of a ready engine', [start, succeed(1)], 'starting', ['spawn']],
    [
      'not of an older one',
      [start, exited(1, 5), cleared(1), delayOver(1), ready(2), succeed(1)],
      'ready',
      ['spawn', 'clear', 'delay 0', 'spawn'],
    ],
    [
      'verified, it is handed over to',
      [start, ready(1), succeed(1), verified(2)],
      'ready',
      ['spawn', 'spawn', 'hand-over'],
    ],
    ['it is not ready before', [start, ready(1), succeed(1), ready(2)], 'ready', ['spawn', 'spawn']],
    [
      'then the old one retires',
      [start, ready(1), succeed(1), verified(2), ready(2)],
      'ready',
      ['spawn', 'spawn', 'hand-over', 'retire'],
    ],
    [
      'whose end changes nothing more',
      [start, ready(1), succeed(1), verified(2), ready(2), exited(1, 9), hung(1), drained(1)],
      'ready',
      ['spawn', 'spawn', 'hand-over', 'retire'],
    ],
    ['one that does not start is forgotten', [start, ready(1), succeed(1), exited(2, 9)], 'ready', ['spawn', 'spawn']],
    [
      'also during the hand-over',
      [start, ready(1), succeed(1), verified(2), exited(2, 9), ready(2)],
      'ready',
      ['spawn', 'spawn', 'hand-over'],
    ],
    [
      'and another may be tried',
      [start, ready(1), succeed(1), exited(2, 9), succeed(1), verified(3)],
      'ready',
      ['spawn', 'spawn', 'spawn', 'hand-over'],
    ],
    [
      'an old one that dies is waited for no more',
      [start, ready(1), succeed(1), exited(1, 9)],
      'starting',
      ['spawn', 'spawn', 'clear'],
    ],
    [
      'the new one takes over then',
      [start, ready(1), succeed(1), exited(1, 9), cleared(1), ready(2)],
      'ready',
      ['spawn', 'spawn', 'clear'],
    ],
    [
      'also when it dies during the hand-over',
      [start, ready(1), succeed(1), verified(2), exited(1, 9), ready(2)],
      'ready',
      ['spawn', 'spawn', 'hand-over', 'clear'],
    ],
    ['or hangs', [start, ready(1), succeed(1), hung(1), exited(1, 9), ready(2)], 'ready', ['spawn', 'spawn', 'kill']],
    [
      'when both die, it backs off',
      [start, ready(1), succeed(1), exited(1, 9), exited(2, 10), cleared(2)],
      'backing-off',
      ['spawn', 'spawn', 'clear', 'clear', 'delay 200'],
    ],
    [
      'a stop ends both',
      [start, ready(1), succeed(1), stop, exited(2, 9), exited(1, 9)],
      'stopped',
      ['spawn', 'spawn', 'terminate', 'terminate'],
    ],
    [
      'a drain for good ends the new one',
      [start, ready(1), succeed(1), drain, exited(2, 9)],
      'draining',
      ['spawn', 'spawn', 'terminate'],
    ],
  ];
  const replaced: typeof table = [
    ['a replacement drains first', [start, ready(1), replace(1)], 'draining', ['spawn']],
    ['and ends when nothing is left', [start, ready(1), replace(1), drained(1)], 'stopping', ['spawn', 'terminate']],
    [
      'then the next one starts at once',
      [start, ready(1), replace(1), drained(1), exited(1, 9)],
      'starting',
      ['spawn', 'terminate', 'spawn'],
    ],
    [
      'drained a second time changes nothing',
      [start, ready(1), replace(1), drained(1), drained(1)],
      'stopping',
      ['spawn', 'terminate'],
    ],
    [
      'drained of the old generation does nothing to the next',
      [start, ready(1), replace(1), drained(1), exited(1, 9), ready(2), drained(1)],
      'ready',
      ['spawn', 'terminate', 'spawn'],
    ],
    ['only a ready engine is replaced', [start, replace(1), drained(1)], 'starting', ['spawn']],
    ['drained alone means nothing', [start, ready(1), drained(1)], 'ready', ['spawn']],
    ['nor does it end a drain without replacement', [start, ready(1), drain, drained(1)], 'draining', ['spawn']],
    [
      'a replacement of an older generation is ignored',
      [start, exited(1, 5), cleared(1), delayOver(1), ready(2), replace(1)],
      'ready',
      ['spawn', 'clear', 'delay 0', 'spawn'],
    ],
    [
      'a second replacement changes nothing',
      [start, ready(1), replace(1), replace(1), drained(1), replace(1), exited(1, 9), replace(1)],
      'starting',
      ['spawn', 'terminate', 'spawn'],
    ],
    ['a drain for good comes before it', [start, ready(1), replace(1), drain, drained(1)], 'draining', ['spawn']],
    ['and ends without another start', [start, ready(1), replace(1), drain, exited(1, 9)], 'stopped', ['spawn']],
    ['a stop comes before it', [start, ready(1), replace(1), stop], 'stopping', ['spawn', 'terminate']],
    [
      'also while the old one ends',
      [start, ready(1), replace(1), drained(1), stop, exited(1, 9)],
      'stopped',
      ['spawn', 'terminate'],
    ],
    [
      'an engine that dies while it is drained has crashed',
      [start, ready(1), replace(1), exited(1, 9)],
      'crashed',
      ['spawn', 'clear'],
    ],
    [
      'and drained comes too late then',
      [start, ready(1), replace(1), exited(1, 9), drained(1), cleared(1)],
      'backing-off',
      ['spawn', 'clear', 'delay 0'],
    ],
    ['a hung engine is killed', [start, ready(1), hung(1)], 'crashed', ['spawn', 'kill']],
    ['cleared once it is gone', [start, ready(1), hung(1), exited(1, 9)], 'crashed', ['spawn', 'kill', 'clear']],
    [
      'and started again at once',
      [start, ready(1), hung(1), exited(1, 9), cleared(1), delayOver(1)],
      'starting',
      ['spawn', 'kill', 'clear', 'delay 0', 'spawn'],
    ],
    ['hung twice is killed once', [start, ready(1), hung(1), hung(1)], 'crashed', ['spawn', 'kill']],
    [
      'its exit is seen once',
      [start, ready(1), hung(1), exited(1, 9), exited(1, 9)],
      'crashed',
      ['spawn', 'kill', 'clear'],
    ],
    ['a start has a limit of its own', [start, hung(1)], 'starting', ['spawn']],
    [
      'a hang of an older generation is ignored',
      [start, exited(1, 5), cleared(1), delayOver(1), ready(2), hung(1)],
      'ready',
      ['spawn', 'clear', 'delay 0', 'spawn'],
    ],
    [
      'one that hangs while it is replaced has crashed',
      [start, ready(1), replace(1), hung(1)],
      'crashed',
      ['spawn', 'kill'],
    ],
    ['one that hangs while it is drained is ended', [start, ready(1), drain, hung(1)], 'stopping', ['spawn', 'kill']],
    [
      'one that is being stopped is killed anyway',
      [start, ready(1), stop, hung(1)],
      'stopping',
      ['spawn', 'terminate'],
    ],
    ['a stop waits for its end', [start, ready(1), hung(1), stop], 'stopping', ['spawn', 'kill']],
    ['and comes to it', [start, ready(1), hung(1), stop, exited(1, 9)], 'stopped', ['spawn', 'kill']],
    [
      'a stop after its end waits for nothing',
      [start, ready(1), hung(1), exited(1, 9), stop, cleared(1)],
      'stopped',
      ['spawn', 'kill', 'clear'],
    ],
  ];
  for (const [name, events, state, effects] of [...table, ...replaced, ...succession]) {
    it(name, () => {
      const result = run(events);
      assert.equal(result.state.name, state);
      assert.deepEqual(result.effects, effects);
    });
  }

  it('counts a hang as a crash, with its cause, and a replacement not', () => {
    const afterHang = run([start, ready(1), hung(1), exited(1, 9)]);
    assert.ok(afterHang.state.name === 'crashed' && afterHang.state.cause.name === 'hung');
    assert.deepEqual(afterHang.state.crashes, [5]);
    const afterReplacement = run([start, ready(1), replace(1), drained(1), exited(1, 9)]);
    assert.deepEqual(afterReplacement.state.crashes, []);
    assert.equal(afterReplacement.state.generation, 2);
  });

  it('remembers earlier crashes over a replacement', () => {
    const crashed = [start, ready(1), exited(1, 5), cleared(1), delayOver(1)];
    const { state } = run([...crashed, ready(2), replace(2), drained(2), exited(2, 9)]);
    assert.deepEqual(state.crashes, [5]);
  });

  it('fails after more crashes in the window than allowed, then tries slowly', () => {
    const crash = (generation: number, at: number): EngineEvent[] => [
      exited(generation, at),
      cleared(generation),
      delayOver(generation),
    ];
    const failed = run([start, ...crash(1, 10), ...crash(2, 20), exited(3, 30), cleared(3)]);
    assert.equal(failed.state.name, 'failed');
    assert.deepEqual(
      failed.effects.filter((effect) => effect.startsWith('delay')),
      ['delay 0', 'delay 200', 'delay 30000'],
    );
    // The slow try comes long after the window and still is the only one until it has lived through a whole window.
    const again = run([delayOver(3), ready(4, 100_000), exited(4, 100_010), cleared(4)], failed.state);
    assert.equal(again.state.name, 'failed');
    const mended = run([delayOver(4), ready(5, 200_000), exited(5, 200_000 + POLICY.window), cleared(5)], again.state);
    assert.equal(mended.state.name, 'backing-off');
  });

  it('forgets crashes that are older than the window', () => {
    const events = [10, 70_000, 140_000, 210_000].flatMap((at, index) => [
      exited(index + 1, at),
      cleared(index + 1),
      delayOver(index + 1),
    ]);
    assert.equal(run([start, ...events]).state.name, 'starting');
  });

  it('gives each start a number of its own, a successor that failed included', () => {
    const { state } = run([start, ready(1), succeed(1), exited(2, 5), exited(1, 9), cleared(1), delayOver(1)]);
    assert.deepEqual([state.generation, state.latest], [3, 3]);
  });

  it('keeps each generation apart', () => {
    const { state } = run([start, exited(1, 5), cleared(1), delayOver(1)]);
    assert.equal(state.generation, 2);
  });
});

describe('the delay before a restart', () => {
  const table: [restarts: number, random: number, expectedMs: number][] = [
    [1, 1, 0],
    [2, 1, 200],
    [2, 0, 100],
    [3, 1, 400],
    [4, 0.5, 600],
    [30, 1, 30_000],
    [30, 0, 15_000],
  ];
  for (const [restarts, random, expectedMs] of table) {
    it(`is ${expectedMs} ms before restart ${restarts} at random ${random}`, () => {
      assert.equal(restartDelayMs(restarts, random, POLICY), expectedMs);
    });
  }
});
