import { createProgressDisplay } from './progress.ts';
import type { ProgressReport } from './progress.ts';

/** Runs a command with progress on stderr; the first SIGINT or SIGTERM cancels it in order, a second one ends at once. */
export async function withProgress(
  work: (signal: AbortSignal, onProgress: (report: ProgressReport) => void) => Promise<void>,
): Promise<void> {
  const display = createProgressDisplay(process.stderr);
  const cancellation = new AbortController();
  const onSignal = () => {
    if (cancellation.signal.aborted) process.exit(1);
    cancellation.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await work(cancellation.signal, (report) => display.update(report));
  } finally {
    display.done();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
