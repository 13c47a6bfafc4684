import { flawOf, type ReadStream, type TestDialect, usageOf } from '../../src/gateway/__tests__/continued-stream.ts';
import { median } from '../statistics.ts';

/** What became of one stream. */
export interface Outcome {
  /** Behind how many tokens its engine was lost. */
  readonly index: number;
  /**
   * `equal`: the text of the uninterrupted answer; `other`: a whole answer whose rest is another one; `flawed`: neither, or not
   * whole; `undisturbed`: the answer was complete before its engine was lost; `refused`: one error in the place of a stream.
   */
  readonly result: 'equal' | 'other' | 'flawed' | 'undisturbed' | 'refused';
  readonly flaw: string | null;
  /** Longest time between two pieces of text, in ms; of a stream that did not begin before, to its first. */
  readonly pauseMs: number;
}

/** What became of all streams of one route in one mode by one fault. */
export interface Row {
  readonly fault: string;
  readonly route: string;
  readonly mode: string;
  readonly outcomes: Outcome[];
}

/** @param whole the uninterrupted answer to the same request. */
export function outcomeOf(
  stream: ReadStream,
  whole: ReadStream,
  dialect: TestDialect,
  { index, wasLost, pauseMs }: { index: number; wasLost: boolean; pauseMs: number },
): Outcome {
  const flaw = flawOf(stream, dialect) ?? differenceOf(stream, whole, index);
  if (flaw !== null) return { index, result: 'flawed', flaw, pauseMs };
  if (!wasLost) return { index, result: 'undisturbed', flaw, pauseMs };
  return { index, result: stream.text === whole.text ? 'equal' : 'other', flaw, pauseMs };
}

/** What is wrong although the form is right: the beginning, or the number of tokens. */
function differenceOf(stream: ReadStream, whole: ReadStream, index: number): string | null {
  // A stream that did not go on, but began again, may only be the same.
  if (stream.continued === 0 && stream.text !== whole.text) return 'it is another answer';
  if (commonLength(stream.text, whole.text) < Math.min(index, whole.text.length)) return 'it differs before the seam';
  const [tokens, expected] = [usageOf(stream), usageOf(whole)].map((usage) => JSON.stringify(usage));
  return tokens === expected ? null : `its usage is ${tokens}, not ${expected}`;
}

function commonLength(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}

/** Whether a row is as promised: whole streams, under `exact` nothing but the same text. */
export function isAsPromised({ mode, outcomes }: Row): boolean {
  return outcomes.every(({ result }) => result !== 'flawed' && !(mode === 'exact' && result === 'other'));
}

/** One line of the table. */
export function summaryOf({ fault, route, mode, outcomes }: Row): Record<string, string | number> {
  const of = (result: Outcome['result']) => outcomes.filter((outcome) => outcome.result === result).length;
  const pauses = outcomes
    .filter(({ result }) => result === 'equal' || result === 'other')
    .map(({ pauseMs }) => pauseMs);
  return {
    fault,
    route,
    mode,
    streams: outcomes.length,
    equal: of('equal'),
    other: of('other'),
    undisturbed: of('undisturbed'),
    refused: of('refused'),
    flawed: of('flawed'),
    'median pause, ms': pauses.length === 0 ? '–' : Math.round(median(pauses)),
    'longest, ms': pauses.length === 0 ? '–' : Math.round(Math.max(...pauses)),
  };
}
