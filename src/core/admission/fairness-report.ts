import type { PriorityClass } from './client.ts';
import type { FairScheduler } from './fair-scheduler.ts';

/** How far apart the waiting clients are; service is in weighted tokens. */
export interface FairnessReport {
  /** Largest difference of counters (service divided by weight) between two waiting clients of one class. */
  readonly gap: number;
  /** What the difference in service of two clients that always wait does not exceed; see {@link FairScheduler.bound}. For the smallest weight that waits. */
  readonly bound: number;
  readonly waitingClients: number;
  /** Clients of whom something is known, absent ones included. */
  readonly knownClients: number;
  readonly classes: readonly {
    readonly name: PriorityClass;
    readonly waiting: number;
    /** Service received since the start. */
    readonly service: number;
  }[];
}

/** Looks at each waiting client. */
export function fairnessReport(scheduler: FairScheduler): FairnessReport {
  const { classes, bound } = scheduler;
  let gap = 0;
  let lightest = Infinity;
  for (const fairClass of classes) {
    if (fairClass.waiting === 0) continue;
    const { min, max } = fairClass.counters();
    gap = Math.max(gap, max - min);
    for (const { weight } of fairClass.queued) lightest = Math.min(lightest, weight);
  }
  return {
    gap,
    bound: bound / (lightest === Infinity ? 1 : lightest),
    waitingClients: classes.reduce((sum, { queued }) => sum + queued.length, 0),
    knownClients: classes.reduce((sum, { knownClients }) => sum + knownClients, 0),
    classes: classes.map(({ name, waiting, service }) => ({ name, waiting, service })),
  };
}
