import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { LlameroError } from '../../errors.ts';
import { type BreakerPass, CircuitBreaker } from '../circuit-breaker.ts';

const CONFIG = { failureThreshold: 3, resetTimeout: 1000, halfOpenRequests: 2 };
const FAILURE = new LlameroError('engine_error', 'It failed.');

/** A breaker with a clock in the hand of the test, and what it told. */
function breakerAt(config = CONFIG) {
  const clock = { now: 0 };
  const changes: string[] = [];
  const breaker = new CircuitBreaker(
    config,
    (from, to, cause) => changes.push(`${from} > ${to}${cause === null ? '' : `: ${cause}`}`),
    () => clock.now,
  );
  return { breaker, clock, changes };
}

function failTimes(breaker: CircuitBreaker, times: number): void {
  for (let time = 0; time < times; time += 1) breaker.enter().fail(FAILURE);
}

/** Opened by failures, then waited until trials are let through. */
function halfOpen() {
  const all = breakerAt();
  failTimes(all.breaker, 3);
  all.clock.now = 1000;
  all.changes.length = 0;
  return all;
}

describe('a closed circuit', () => {
  it('opens at the configured number of failures in a row, and names the cause', () => {
    const { breaker, changes } = breakerAt();
    failTimes(breaker, 2);
    assert.equal(breaker.state, 'closed');
    failTimes(breaker, 1);
    assert.equal(breaker.state, 'open');
    assert.deepEqual(changes, ['closed > open: engine_error']);
  });

  it('counts anew after a success', () => {
    const { breaker } = breakerAt();
    failTimes(breaker, 2);
    breaker.enter().succeed();
    failTimes(breaker, 2);
    assert.equal(breaker.state, 'closed');
  });

  it('does not take a neutral end for a success', () => {
    const { breaker } = breakerAt();
    failTimes(breaker, 2);
    breaker.enter().forget();
    failTimes(breaker, 1);
    assert.equal(breaker.state, 'open');
  });

  it('does not take a neutral end for a failure', () => {
    const { breaker } = breakerAt();
    for (let time = 0; time < 10; time += 1) breaker.enter().settle(new LlameroError('cancelled', ''));
    for (let time = 0; time < 10; time += 1) breaker.enter().settle(new LlameroError('engine_starting', ''));
    assert.equal(breaker.state, 'closed');
  });

  it('lets any number of requests through at once', () => {
    const { breaker } = breakerAt();
    assert.doesNotThrow(() => Array.from({ length: 100 }, () => breaker.enter()));
  });

  it('counts an end only when it comes, not when the request was let through', () => {
    const { breaker } = breakerAt();
    const passes = Array.from({ length: 3 }, () => breaker.enter());
    breaker.enter().succeed();
    for (const pass of passes) pass.fail(FAILURE);
    assert.equal(breaker.state, 'open');
  });
});

describe('a pass', () => {
  it('counts once, whatever is called after that', () => {
    const { breaker } = breakerAt();
    const pass = breaker.enter();
    for (let time = 0; time < 5; time += 1) pass.fail(FAILURE);
    assert.equal(breaker.state, 'closed');
    failTimes(breaker, 1);
    pass.succeed();
    failTimes(breaker, 1);
    assert.equal(breaker.state, 'open');
  });

  it('settles as the table of outcomes says', () => {
    const { breaker } = breakerAt();
    for (let time = 0; time < 2; time += 1) breaker.enter().settle(FAILURE);
    breaker.enter().settle(null);
    for (let time = 0; time < 2; time += 1) breaker.enter().settle(FAILURE);
    assert.equal(breaker.state, 'closed');
    breaker.enter().settle(FAILURE);
    assert.equal(breaker.state, 'open');
  });

  it('gives back a trial place only once', () => {
    const { breaker } = halfOpen();
    const first = breaker.enter();
    breaker.enter();
    first.forget();
    first.forget();
    breaker.enter();
    assert.throws(() => breaker.enter(), { code: 'circuit_open' });
  });
});

describe('an open circuit', () => {
  it('refuses, and says when trials are let through', () => {
    const { breaker, clock } = breakerAt();
    failTimes(breaker, 3);
    clock.now = 250;
    assert.throws(() => breaker.enter(), {
      code: 'circuit_open',
      retryAfterMs: 750,
      details: { cause: 'engine_error' },
    });
    assert.throws(() => breaker.check(), { code: 'circuit_open', retryAfterMs: 750 });
  });

  it('lets somebody through who waited exactly as long as it said', () => {
    const { breaker, clock } = breakerAt();
    failTimes(breaker, 3);
    clock.now = 999.5;
    assert.throws(() => breaker.enter(), { retryAfterMs: 1 });
    clock.now += 1;
    assert.doesNotThrow(() => breaker.enter());
  });

  it('ignores what was let through before', () => {
    const { breaker, clock } = breakerAt();
    const late = Array.from({ length: 5 }, () => breaker.enter());
    failTimes(breaker, 3);
    clock.now = 500;
    late[0]?.succeed();
    late[1]?.fail(FAILURE);
    assert.throws(() => breaker.enter(), { retryAfterMs: 500 });
  });
});

describe('a half-open circuit', () => {
  it('is shown as such once its time has come, and announced by the first trial', () => {
    const { breaker, changes } = halfOpen();
    assert.equal(breaker.state, 'half-open');
    assert.deepEqual(changes, []);
    breaker.enter();
    assert.deepEqual(changes, ['open > half-open']);
  });

  it('lets no more through at once than configured', () => {
    const { breaker } = halfOpen();
    breaker.enter();
    breaker.check();
    breaker.enter();
    assert.throws(() => breaker.check(), { code: 'circuit_open' });
    assert.throws(() => breaker.enter(), { code: 'circuit_open', retryAfterMs: 1000 });
  });

  it('takes no place for a mere check', () => {
    const { breaker } = halfOpen();
    for (let time = 0; time < 5; time += 1) breaker.check();
    assert.doesNotThrow(() => [breaker.enter(), breaker.enter()]);
  });

  it('closes when that many succeeded', () => {
    const { breaker, changes } = halfOpen();
    breaker.enter().succeed();
    assert.equal(breaker.state, 'half-open');
    breaker.enter().succeed();
    assert.equal(breaker.state, 'closed');
    assert.deepEqual(changes, ['open > half-open', 'half-open > closed']);
  });

  it('begins to count from zero when it has closed', () => {
    const { breaker } = halfOpen();
    breaker.enter().succeed();
    breaker.enter().succeed();
    failTimes(breaker, 2);
    assert.equal(breaker.state, 'closed');
  });

  it('opens at the first failure, for the whole time again', () => {
    const { breaker, clock, changes } = halfOpen();
    breaker.enter().succeed();
    breaker.enter().fail(new LlameroError('engine_bad_response', ''));
    assert.deepEqual(changes, ['open > half-open', 'half-open > open: engine_bad_response']);
    clock.now = 1999;
    assert.throws(() => breaker.enter(), { retryAfterMs: 1, details: { cause: 'engine_bad_response' } });
  });

  it('gives the place of a neutral end to the next, without counting it', () => {
    const { breaker } = halfOpen();
    breaker.enter();
    for (let time = 0; time < 5; time += 1) breaker.enter().forget();
    assert.equal(breaker.state, 'half-open');
  });

  it('ignores trials of an earlier half-open time', () => {
    const { breaker, clock } = halfOpen();
    const early = breaker.enter();
    breaker.enter().fail(FAILURE);
    clock.now = 2000;
    breaker.enter();
    early.fail(FAILURE);
    assert.equal(breaker.state, 'half-open');
    breaker.enter();
    early.forget();
    assert.throws(() => breaker.enter(), { code: 'circuit_open' });
  });

  it('ignores what was let through while it was closed', () => {
    const { breaker, clock } = breakerAt();
    const late = breaker.enter();
    failTimes(breaker, 3);
    clock.now = 1000;
    breaker.enter();
    breaker.enter();
    late.succeed();
    assert.throws(() => breaker.enter(), { code: 'circuit_open' });
  });
});

describe('a new generation of the engine', () => {
  it('closes an open circuit at once', () => {
    const { breaker, changes } = breakerAt();
    failTimes(breaker, 3);
    breaker.reset();
    assert.doesNotThrow(() => breaker.enter());
    assert.deepEqual(changes.slice(1), ['open > closed']);
  });

  it('closes a half-open one, whose trials then count for nothing', () => {
    const { breaker } = halfOpen();
    const trial = breaker.enter();
    breaker.reset();
    trial.fail(FAILURE);
    failTimes(breaker, 2);
    assert.equal(breaker.state, 'closed');
  });

  it('is not blamed for what the old one did, heard of before or after', () => {
    const { breaker, changes } = breakerAt();
    const inFlight = Array.from({ length: 4 }, () => breaker.enter());
    inFlight[0]?.fail(FAILURE);
    inFlight[1]?.fail(FAILURE);
    breaker.reset();
    inFlight[2]?.fail(FAILURE);
    inFlight[3]?.fail(FAILURE);
    failTimes(breaker, 2);
    assert.equal(breaker.state, 'closed');
    assert.deepEqual(changes, []);
  });
});

type Ending = 'succeed' | 'fail' | 'forget';
type Step =
  | { readonly do: 'enter' }
  | { readonly do: 'end'; readonly which: number; readonly how: Ending }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'reset' };

const endings = fc.constantFrom<Ending[]>('succeed', 'fail', 'fail', 'forget');
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step>({ do: 'enter' }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('end' as const), which: fc.nat(1000), how: endings }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(1500) }) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'reset' }) },
  ),
  { maxLength: 200 },
);
const configs = fc.record({
  failureThreshold: fc.integer({ min: 1, max: 4 }),
  resetTimeout: fc.integer({ min: 1, max: 2000 }),
  halfOpenRequests: fc.integer({ min: 1, max: 3 }),
});

/** Carries out random steps and remembers in which period, between two changes or resets, each pass was given. */
function play(config: typeof CONFIG) {
  const all = breakerAt(config);
  const { breaker, clock, changes } = all;
  const passes: { readonly pass: BreakerPass; readonly period: number }[] = [];
  let resets = 0;
  const period = (): number => changes.length + resets;
  const enter = (): 'let through' | 'refused' => {
    try {
      const pass = breaker.enter();
      passes.push({ pass, period: period() });
      return 'let through';
    } catch (error) {
      assert.equal((error as LlameroError).code, 'circuit_open');
      return 'refused';
    }
  };
  const perform = (step: Step): 'let through' | 'refused' | null => {
    if (step.do === 'enter') return enter();
    if (step.do === 'wait') clock.now += step.ms;
    else if (step.do === 'end') end(passes.splice(step.which % (passes.length || 1), 1)[0]?.pass, step.how);
    else {
      breaker.reset();
      resets += 1;
    }
    return null;
  };
  /** Passes of the present period that were not settled yet. */
  const underWay = (): number => passes.filter((one) => one.period === period()).length;
  return { ...all, perform, underWay };
}

function end(pass: BreakerPass | undefined, how: Ending): void {
  if (how === 'fail') pass?.fail(FAILURE);
  else pass?.[how]();
}

describe('whatever happens in whatever order', () => {
  it('no more than halfOpenRequests trials are under way, and none is refused while there are fewer', () => {
    fc.assert(
      fc.property(configs, steps, (config, sequence) => {
        const { breaker, perform, underWay } = play(config);
        for (const step of sequence) {
          const result = perform(step);
          if (breaker.state !== 'half-open') continue;
          assert.ok(underWay() <= config.halfOpenRequests);
          if (result === 'refused') assert.equal(underWay(), config.halfOpenRequests);
        }
      }),
    );
  });

  it('the ends of requests of an earlier state make no difference', () => {
    fc.assert(
      fc.property(configs, steps, fc.array(endings, { minLength: 200, maxLength: 200 }), (config, sequence, noise) => {
        const quiet = play(config);
        const noisy = play(config);
        const late = noise.map(() => noisy.breaker.enter());
        noisy.breaker.reset();
        for (const [index, step] of sequence.entries()) {
          end(late[index], noise[index]!);
          assert.equal(noisy.perform(step), quiet.perform(step));
          assert.deepEqual(noisy.changes, quiet.changes);
        }
      }),
    );
  });

  it('each change goes on from the last, along the allowed ways', () => {
    fc.assert(
      fc.property(configs, steps, (config, sequence) => {
        const { changes, perform } = play(config);
        for (const step of sequence) {
          const before = changes.length;
          perform(step);
          const allowed = {
            enter: /^open > half-open$/,
            end: /^(closed > open: engine_error|half-open > open: engine_error|half-open > closed)$/,
            wait: /^$/,
            reset: /^(open|half-open) > closed$/,
          };
          for (const change of changes.slice(before)) assert.match(change, allowed[step.do]);
          assert.ok(changes.length <= before + 1);
        }
        const names = changes.map((change) => change.replace(/:.*/, '').split(' > '));
        for (const [index, [from]] of names.entries()) assert.equal(from, names[index - 1]?.[1] ?? 'closed');
      }),
    );
  });

  it('who waits exactly as long as an open circuit told him is let through', () => {
    fc.assert(
      fc.property(configs, steps, (config, sequence) => {
        const { breaker, clock, perform } = play(config);
        for (const step of sequence) perform(step);
        if (breaker.state !== 'open') return;
        const { retryAfterMs } = refusalOf(breaker);
        assert.ok(retryAfterMs !== undefined && retryAfterMs > 0 && retryAfterMs <= config.resetTimeout);
        clock.now += retryAfterMs;
        breaker.enter();
      }),
    );
  });
});

function refusalOf(breaker: CircuitBreaker): LlameroError {
  try {
    breaker.enter();
  } catch (error) {
    return error as LlameroError;
  }
  throw new Error('It was let through.');
}
