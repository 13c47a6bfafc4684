import {
  readStream,
  type ReadStream,
  refusedStream,
  type TestDialect,
} from '../../src/gateway/__tests__/continued-stream.ts';
import { nextEvent, record, serve, type Served } from '../../src/gateway/__tests__/served-engine.ts';
import { type Fault, signalEngine, type Strike } from './faults.ts';
import { type Outcome, outcomeOf, type Row } from './outcomes.ts';

const TOKENS = 60;
const RESTART = { maxRestarts: 1000, window: 60_000, delay: 1, backoffMultiplier: 1, maxDelay: 1 };
/** Some hundreds of tokens: they take longer to read than a kill takes to arrive. */
const LONG_PROMPT = 'Tell me a long story about llamas in the mountains. '.repeat(8);

/** What is tried. */
export interface Plan {
  readonly faults: readonly Fault[];
  readonly dialects: readonly TestDialect[];
  readonly modes: readonly string[];
  /** Every so many tokens; null: as each fault says. */
  readonly every: number | null;
  /** The first token, so that a shorter run need not always try the same ones. */
  readonly offset: number;
  /** No further stream is begun after this time, as of `performance.now()`. */
  readonly untilMs: number;
}

/** Tries every fault of the plan. @param note told of each row that is complete. */
export async function tryFaults(plan: Plan, model: string, note: (row: Row) => void): Promise<Row[]> {
  const rows: Row[] = [];
  for (const fault of plan.faults) {
    const { engine, ...settings } = fault.settings ?? {};
    const args = ['--flash-attn', 'off'];
    await using served = await serve({
      model,
      ...settings,
      engine: { ctxSize: 4096, args, ...engine, restart: { ...RESTART, ...engine?.restart } },
    });
    const exits = record(served, 'engine-exit');
    for (const dialect of plan.dialects) {
      const expected = await ask(served, dialect, 'off', fault, {});
      for (const mode of plan.modes) {
        const outcomes = await tryIndices({ plan, fault, served, exits, dialect, mode, expected });
        const row = { fault: fault.name, route: dialect.path, mode, outcomes };
        rows.push(row);
        note(row);
      }
    }
  }
  return rows;
}

interface Trial {
  readonly plan: Plan;
  readonly fault: Fault;
  readonly served: Served;
  /** The ends of its engines so far. */
  readonly exits: readonly unknown[];
  readonly dialect: TestDialect;
  readonly mode: string;
  readonly expected: Asked;
}

async function tryIndices({ plan, fault, served, exits, dialect, mode, expected }: Trial): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const step = plan.every ?? fault.step;
  for (let index = 1 + (plan.offset % step); index <= TOKENS; index += step) {
    if (performance.now() > plan.untilMs) break;
    if (fault.readsLong === true) await freshEngine(served);
    const exitsBefore = exits.length;
    const strike = fault.strike(served, index, expected.firstTextMs);
    const { stream, firstTextMs } = await ask(served, dialect, mode, fault, strike);
    const pauseMs = fault.readsLong === true ? firstTextMs : stream.pauseMs;
    const wasLost = fault.readsLong === true ? exits.length > exitsBefore : stream.continued > 0;
    outcomes.push(outcomeOf(stream, expected.stream, dialect, { index, wasLost, pauseMs }));
    await hasEngine(served);
  }
  return outcomes;
}

interface Asked {
  readonly stream: ReadStream;
  /** From the sending of the request to its first text, in ms. */
  readonly firstTextMs: number;
}

/** One greedy stream, read to its end. */
async function ask(
  served: Served,
  dialect: TestDialect,
  mode: string,
  { readsLong }: Fault,
  { onSent, onText, onEnd }: Strike,
): Promise<Asked> {
  const prompt = readsLong === true ? LONG_PROMPT : 'Hello';
  const body = { ...dialect.body(prompt), [dialect.limit]: TOKENS, temperature: 0, stream: true };
  const startedAt = performance.now();
  let firstTextMs = 0;
  const asking = served.post(dialect.path, body, { 'x-stream-continuation': mode });
  onSent?.();
  const response = await asking;
  const onPiece = (count: number): void => {
    if (count === 1) firstTextMs = performance.now() - startedAt;
    onText?.(count);
  };
  const stream = response.status === 200 ? await readStream(response, onPiece) : await refusedStream(response);
  onEnd?.();
  return { stream, firstTextMs };
}

/** An engine that has nothing of any prompt. */
async function freshEngine(served: Served): Promise<void> {
  const ready = nextEvent(served, 'engine-ready');
  signalEngine(served, 'SIGKILL');
  await ready;
}

/** A kill may come later than the end of its stream. */
async function hasEngine(served: Served): Promise<void> {
  while (served.provider.status().pid === null) await nextEvent(served, 'engine-ready');
}
