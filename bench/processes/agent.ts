/**
 * Runs inside a measured process (`node --import`) and answers the bench over the IPC channel: what the process has used
 * so far, and whatever the program itself registers with {@link answer}.
 */

/** What a process has used since it started. */
export interface Usage {
  /** User and system CPU time of all threads, in microseconds. */
  readonly cpuMicros: number;
  readonly rssBytes: number;
  /** Live JavaScript heap and the buffers that belong to it, after a full garbage collection if one was asked for. */
  readonly heapBytes: number;
}

/** A question over the channel. */
export interface Question {
  readonly id: number;
  readonly subject: string;
  readonly payload: unknown;
}

/** What comes back for it. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly problem: string };

type Handler = (payload: never) => unknown;

const handlers = new Map<string, Handler>([['usage', usage]]);

/** Registers what the program answers to a subject. */
export function answer(subject: string, handler: Handler): void {
  handlers.set(subject, handler);
}

/** Tells the bench where this process listens. */
export function announcePort(port: number): void {
  process.send?.({ port });
}

async function usage({ collect }: { collect: boolean }): Promise<Usage> {
  // Before the collection, whose cost is the bench's own.
  const { user, system } = process.cpuUsage();
  if (collect) {
    // Twice, a turn apart: closing sockets and finalizers let go of more.
    await collectGarbage();
    await collectGarbage();
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { cpuMicros: user + system, rssBytes: rss, heapBytes: heapUsed + external };
}

async function collectGarbage(): Promise<void> {
  await new Promise(setImmediate);
  globalThis.gc?.();
}

async function reply({ id, subject, payload }: Question): Promise<void> {
  let message: Reply;
  try {
    const handler = handlers.get(subject);
    if (handler === undefined) throw new Error(`nobody answers '${subject}' here`);
    // JSON has no undefined, and a missing value would look like a problem.
    message = { id, value: (await handler(payload as never)) ?? null };
  } catch (error) {
    message = { id, problem: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(message);
}

process.on('message', (question: Question) => void reply(question));
// When the bench is gone nobody needs this process any more.
process.on('disconnect', () => process.exit());
// An orderly end, without which Node would not write a profile; a program with more to tidy up listens itself.
process.on('SIGTERM', () => {
  if (process.listenerCount('SIGTERM') === 1) process.exit();
});
