import type { BenchContext } from './bench-context.ts';
import type { Subject, SubjectName } from './rig.ts';
import { shuffled } from './statistics.ts';

/** What was measured of each subject, one entry per round. */
export type Measured<Value> = Readonly<Partial<Record<SubjectName, Value[]>>>;

/**
 * Measures every subject once per round, in random order, after one warm-up of each that does not count. Whatever
 * disturbs the machine for a while disturbs all subjects of that round, so values of one round may be compared in pairs.
 */
export async function interleaved<Value>(
  { rounds, random, progress }: BenchContext,
  subjects: readonly Subject[],
  measure: (subject: Subject) => Promise<Value>,
): Promise<Measured<Value>> {
  const measured: Partial<Record<SubjectName, Value[]>> = {};
  for (let round = 0; round <= rounds; round += 1) {
    progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
    for (const subject of shuffled(subjects, random)) {
      const value = await measure(subject);
      if (round > 0) (measured[subject.name] ??= []).push(value);
    }
  }
  return measured;
}

/** One number per round out of two subjects. */
export function paired<Value>(
  measured: Measured<Value>,
  one: SubjectName,
  other: SubjectName,
  compare: (one: Value, other: Value) => number,
): number[] {
  const others = measured[other] ?? [];
  return (measured[one] ?? []).map((value, round) => compare(value, others[round] as Value));
}

/** One number per round out of one subject. */
export function each<Value>(measured: Measured<Value>, name: SubjectName, pick: (value: Value) => number): number[] {
  return (measured[name] ?? []).map((value) => pick(value));
}
