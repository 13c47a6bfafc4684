import {
  readStream,
  type ReadStream,
  refusedStream,
  type TestDialect,
} from '../../src/gateway/__tests__/continued-stream.ts';
import { Scissors } from '../../src/gateway/__tests__/scissors.ts';
import { serve, type Served } from '../../src/gateway/__tests__/served-engine.ts';
import { startFakeLlamaServer } from '../../src/testing/index.ts';
import { type Outcome, outcomeOf, type Row } from './outcomes.ts';
import type { Plan } from './try-faults.ts';

/** A character of four bytes comes with the last of them. */
const TOKENS = 4;

/**
 * Cuts the connection to the engine behind every byte of its answer, head included: within characters, within events, between
 * them. With the double, whose answers are short and the same.
 */
export async function cutBytes(plan: Plan, note: (row: Row) => void): Promise<Row[]> {
  await using double = await startFakeLlamaServer();
  await using scissors = await Scissors.start(double.port ?? 0);
  await using served = await serve({
    engineUrl: scissors.url,
    circuitBreaker: { failureThreshold: 1000 },
    retry: { retryDelay: 1, backoffMultiplier: 1 },
  });
  const rows: Row[] = [];
  for (const dialect of plan.dialects) {
    const whole = await ask(served, dialect, 'off');
    const { length } = scissors.answered;
    for (const mode of plan.modes) {
      const outcomes: Outcome[] = [];
      const step = plan.every ?? 1;
      for (let index = 1 + (plan.offset % step); index < length && performance.now() <= plan.untilMs; index += step) {
        scissors.cutAt = index;
        outcomes.push(judge(await ask(served, dialect, mode), whole, dialect, { index, scissors }));
        scissors.cutAt = null;
      }
      const row = { fault: 'cut', route: dialect.path, mode, outcomes };
      rows.push(row);
      note(row);
    }
  }
  return rows;
}

function judge(
  stream: ReadStream,
  whole: ReadStream,
  dialect: TestDialect,
  { index, scissors }: { index: number; scissors: Scissors },
): Outcome {
  const { errors, text, pauseMs } = stream;
  // Before anything came, of an engine that lives: one honest error.
  if (errors.length === 1 && text === '') return { index, result: 'refused', flaw: null, pauseMs };
  // Times have more or fewer digits from run to run, so that the end may lie before the last cuts.
  const wasLost = scissors.cutAt === null;
  return outcomeOf(stream, whole, dialect, { index: 0, wasLost, pauseMs });
}

async function ask(served: Served, dialect: TestDialect, mode: string): Promise<ReadStream> {
  const body = { ...dialect.body('Hello'), [dialect.limit]: TOKENS, temperature: 0, stream: true };
  const response = await served.post(dialect.path, body, { 'x-stream-continuation': mode });
  return response.status === 200 ? readStream(response) : refusedStream(response);
}
