import { SingleBar } from 'cli-progress';

/** One report of progress, of an engine's installation or a model's download. */
export interface ProgressReport {
  /** What is going on; a new step gets a new bar. `note` is a line of its own. */
  step: string;
  /** Done part of the step, 0 to 1; null where it cannot be told. */
  fraction: number | null;
  /** One line for people. */
  message: string;
}

/** Shows progress. `done()` ends a bar that is still there; it may be called more than once. */
export interface ProgressDisplay {
  update(report: ProgressReport): void;
  done(): void;
}

/** A stream to show progress on: normally stderr, so that stdout stays the command's answer. */
export type ProgressStream = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

const CLEAR_LINE = '\u001B[2K';
/** Without a terminal, a line of the same step appears when this much more is done … */
const LINE_STEP = 0.1;
/** … or, where nothing can be counted, this long after the last one. */
const LINE_INTERVAL_MS = 5000;

/** A progress bar on a terminal, plain lines elsewhere: one when a step begins, then one every 10 percent. */
export function createProgressDisplay(stream: ProgressStream): ProgressDisplay {
  return stream.isTTY ? createBarDisplay(stream) : createLineDisplay(stream);
}

function createBarDisplay(stream: ProgressStream): ProgressDisplay {
  let bar: SingleBar | null = null;
  let openStep = '';
  let openLine = '';
  const done = () => {
    bar?.stop();
    bar = null;
    if (openLine !== '') stream.write('\n');
    openLine = '';
  };
  const writeLine = (step: string, message: string) => {
    // How long we wait is one line that changes. Any other line is finished at once: the command may write next.
    const stays = step === 'wait';
    if (stays && openLine !== '') stream.write(`\r${CLEAR_LINE}${message}`);
    else {
      done();
      stream.write(stays ? message : `${message}\n`);
    }
    openLine = stays ? message : '';
  };
  const begin = (step: string, message: string) => {
    done();
    openStep = step;
    bar = new SingleBar({
      stream,
      format: '{bar} {percentage}% {message}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      fps: 8,
      hideCursor: true,
      // An installation that is interrupted says so itself.
      gracefulExit: false,
    });
    bar.start(100, 0, { message });
  };
  return {
    done,
    update({ step, fraction, message }) {
      if (fraction === null) {
        writeLine(step, message);
        return;
      }
      if (bar === null || step !== openStep) begin(step, message);
      bar?.update(Math.floor(fraction * 100), { message });
    },
  };
}

function createLineDisplay(stream: ProgressStream): ProgressDisplay {
  let last: (ProgressReport & { at: number }) | null = null;
  return {
    done: () => undefined,
    update(report) {
      const at = performance.now();
      if (last !== null && !isWorthALine(last, report, at - last.at)) return;
      last = { ...report, at };
      const percent = report.fraction === null ? '' : ` ${Math.floor(report.fraction * 100)}%`;
      stream.write(`${report.message}${percent}\n`);
    },
  };
}

function isWorthALine(last: ProgressReport, report: ProgressReport, passedMs: number): boolean {
  if (report.step !== last.step || report.step === 'note') return true;
  if (report.fraction === null || last.fraction === null) {
    return report.message !== last.message && passedMs >= LINE_INTERVAL_MS;
  }
  return report.fraction - last.fraction >= LINE_STEP - 1e-9 || (report.fraction === 1 && last.fraction < 1);
}
