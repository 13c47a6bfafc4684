import { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Server, Socket } from 'node:net';
import { queryObjects } from 'node:v8';

/** Anything with a prototype: a class, whatever its constructor takes. Private constructors are welcome. */
export interface CountedClass {
  readonly name: string;
  readonly prototype: object;
}

/** What lives, by name. */
export type Counts = Readonly<Record<string, number>>;

/** A timer's class has no name that could be imported. */
const Timeout = timeoutClass();

/** What of Node's own is counted in every measurement. */
const NODE_CLASSES: readonly CountedClass[] = [
  Socket,
  Server,
  IncomingMessage,
  ServerResponse,
  ChildProcess,
  AbortSignal,
  Timeout,
];

/** Prefix of the kinds of resources that keep the event loop alive. */
const RESOURCE = 'active ';
const DESCRIPTORS = 'file descriptors';

/**
 * Counts what lives in this process: objects of Node's classes and of the given ones (`v8.queryObjects`, which collects garbage
 * itself and so finds exactly what can still be reached; some 10 to 50 ms each), what keeps the event loop alive
 * (`process.getActiveResourcesInfo`), open file descriptors (Linux), and the counts given.
 *
 * @param only names to count; default: all
 */
export function countLive(
  classes: readonly CountedClass[],
  own: () => Counts,
  only: ReadonlySet<string> | null = null,
): Counts {
  const counts: Record<string, number> = {};
  for (const counted of [...NODE_CLASSES, ...classes]) {
    const { name } = counted;
    if (only === null || only.has(name)) counts[name] = (counts[name] ?? 0) + liveObjects(counted);
  }
  for (const kind of process.getActiveResourcesInfo()) counts[RESOURCE + kind] = (counts[RESOURCE + kind] ?? 0) + 1;
  if (process.platform === 'linux') counts[DESCRIPTORS] = readdirSync('/proc/self/fd').length;
  Object.assign(counts, own());
  return counts;
}

function liveObjects(counted: CountedClass): number {
  return queryObjects(counted as new () => object, { format: 'count' });
}

function timeoutClass(): CountedClass {
  const timer = setTimeout(() => undefined, 0);
  clearTimeout(timer);
  return timer.constructor;
}
