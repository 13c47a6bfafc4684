import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** How the tests of one or more files ended. */
export interface TestCounts {
  passed: number;
  /** Cancelled tests and files that could not be run included. */
  failed: number;
  /** Tests marked as todo included. */
  skipped: number;
}

/** The result of one file. */
export interface TestFileResult {
  readonly counts: TestCounts;
  /** What the runner's `spec` reporter says. */
  readonly output: string;
  readonly seconds: number;
}

/**
 * Runs one test file in a process of its own, which is ended after `timeoutMs`: also one whose tests are over but that
 * does not end, because something is still open in it, fails that way. A file without any test fails too.
 */
export async function runTestFile(file: string, timeoutMs: number): Promise<TestFileResult> {
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort(new Error(`Still running after ${timeoutMs / 1000} s: a test hangs, or something was left open.`));
  }, timeoutMs);
  const startedAt = performance.now();
  const counts: TestCounts = { passed: 0, failed: 0, skipped: 0 };
  let tests = 0;
  const events = run({ files: [file], signal: deadline.signal });
  events.on('test:summary', ({ counts: ended, file: one }) => {
    // The summary of a single file precedes the one of the whole run, which alone knows of a file that broke.
    if (one !== undefined) return;
    counts.passed = ended.passed;
    counts.skipped = ended.skipped + ended.todo;
    counts.failed = ended.tests - counts.passed - counts.skipped;
  });
  events.on('test:start', ({ name }) => {
    if (name !== file) tests += 1;
  });
  let output = '';
  try {
    for await (const text of events.compose(new spec())) output += String(text);
  } finally {
    clearTimeout(timer);
  }
  if (tests === 0 && counts.failed === 0) {
    output += `There is no test in ${file}.\n`;
    Object.assign(counts, { passed: 0, failed: 1 });
  }
  return { counts, output: withoutTotals(output), seconds: (performance.now() - startedAt) / 1000 };
}

/** The reporter's own totals of each file are left out: the run has one total, at its end. */
function withoutTotals(output: string): string {
  return output.replaceAll(/^.*ℹ (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) .*\n/gm, '');
}
