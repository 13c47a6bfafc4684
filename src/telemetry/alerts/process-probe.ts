import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ProcessReading } from './alert-conditions.ts';

/** How often the delay of the event loop is sampled, in ms; the same as for `/metrics`. */
const EVENT_LOOP_PRECISION_MS = 20;
const NANOSECONDS_PER_MS = 1e6;

/** Looks at llamero's own process. */
export interface ProcessProbe extends Disposable {
  /** The file descriptors are those of the reading before: counting them waits for the file system. */
  read(): ProcessReading;
}

/** Begins to watch the event loop, and counts file descriptors where there is `/proc` (Linux). */
export function watchProcess(): ProcessProbe {
  const delay = monitorEventLoopDelay({ resolution: EVENT_LOOP_PRECISION_MS });
  delay.enable();
  const most = mostFileDescriptors();
  let open: number | null = null;
  let counting = false;
  const count = async (): Promise<void> => {
    if (most === null || counting) return;
    counting = true;
    try {
      // One of them is the folder that is being read.
      open = (await readdir('/proc/self/fd')).length - 1;
    } catch {
      // Out of file descriptors altogether: opening the folder takes one too.
      open = most;
    }
    counting = false;
  };
  void count();
  return {
    read() {
      void count();
      const eventLoopDelayMs = delay.percentile(99) / NANOSECONDS_PER_MS;
      delay.reset();
      return {
        fileDescriptors: open === null || most === null ? null : { open, most },
        residentBytes: process.memoryUsage.rss(),
        eventLoopDelayMs,
      };
    },
    [Symbol.dispose]() {
      delay.disable();
    },
  };
}

/** The soft limit of this process; null: there is none, or it is not known. */
function mostFileDescriptors(): number | null {
  try {
    const found = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return found === null ? null : Number(found[1]);
  } catch {
    // No /proc: not Linux.
    return null;
  }
}
