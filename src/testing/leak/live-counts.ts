import { readdirSync } from 'node:fs';
import { objectHistogram } from './object-histogram.ts';

/** What lives, by name. */
export type Counts = Readonly<Record<string, number>>;

/** What lives in a process at one moment. */
export interface LiveCounts {
  /** Objects of the classes that were asked for, resources, descriptors, and what the subject counts itself: none of it may grow. */
  readonly exact: Counts;
  /** Objects and functions of every other name. Caches and what is loaded late make a few more of them, but never one with each unit of work. */
  readonly other: Counts;
}

/** Of Node's own, what somebody has to let go of. */
const NODE_CLASSES: readonly string[] = [
  'AbortController',
  'AbortSignal',
  'ChildProcess',
  'ClientRequest',
  'IncomingMessage',
  'Interface',
  'MessagePort',
  'Server',
  'ServerResponse',
  'Socket',
  'Timeout',
  'Worker',
];

const DESCRIPTORS = 'file descriptors';

/**
 * Counts what lives in this process: objects by their class, what keeps the event loop alive
 * (`process.getActiveResourcesInfo`, as `active …`), and open file descriptors (Linux only).
 *
 * @param classes names of the classes whose objects must not grow, beside Node's own
 * @param own what the subject counts itself
 */
export async function countLive(classes: readonly string[], own: Counts): Promise<LiveCounts> {
  const exact: Record<string, number> = { ...countResources(), ...own };
  for (const name of [...NODE_CLASSES, ...classes]) exact[name] = 0;
  const other: Record<string, number> = {};
  for (const [name, count] of await objectHistogram()) {
    if (exact[name] === 0) exact[name] = count;
    else other[name] = count;
  }
  return { exact, other };
}

/** The cheap part of {@link countLive}. */
export function countResources(): Counts {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    const name = `active ${kind}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  if (process.platform === 'linux') counts[DESCRIPTORS] = readdirSync('/proc/self/fd').length;
  return counts;
}
