import { type Debugger, Session } from 'node:inspector';
import { parentPort, workerData } from 'node:worker_threads';
import { BEAT_INTERVAL_MS, type StallReport, type StallSamplerData } from './stall-beats.ts';

/**
 * The thread that looks on: it counts the beats of the main thread and, when they stay out, pauses it for some ms to read its
 * stack. The debugger is connected during a stall only, because it makes V8 keep more than it needs to.
 *
 * It pauses at the next function call or turn of a loop: of a long call into native code, such as `JSON.parse`, it sees the
 * caller. A pause that comes when the stall is over is not reported.
 */

const MAX_FRAMES = 20;
const { beats, thresholdMs } = workerData as StallSamplerData;

let lastBeat = Atomics.load(beats, 0);
let lastChangeAt = performance.now();
/** A stall is looked at once. */
let lookedAt = -1;
let session: Session | null = null;

setInterval(() => {
  const beat = Atomics.load(beats, 0);
  const now = performance.now();
  if (beat !== lastBeat) {
    lastBeat = beat;
    lastChangeAt = now;
    disconnect();
  } else if (
    beat !== lookedAt &&
    beat !== 0 &&
    now - lastChangeAt >= Math.max(thresholdMs * 0.75, 1.5 * BEAT_INTERVAL_MS)
  ) {
    lookedAt = beat;
    pause(beat);
  }
}, BEAT_INTERVAL_MS / 2);

function pause(beat: number): void {
  const opened = new Session();
  session = opened;
  opened.connectToMainThread();
  const files = new Map<string, string>();
  opened.on('Debugger.scriptParsed', ({ params: { scriptId, url } }) => files.set(scriptId, url));
  opened.on('Debugger.paused', ({ params }) => {
    const isStillStalled = Atomics.load(beats, 0) === beat;
    const stack = params.callFrames
      .slice(0, MAX_FRAMES)
      .map((frame) => describe(frame, files.get(frame.location.scriptId) ?? frame.url));
    opened.post('Debugger.resume');
    disconnect();
    if (isStillStalled) parentPort?.postMessage({ beat, stack } satisfies StallReport, []);
  });
  opened.post('Debugger.enable');
  opened.post('Debugger.pause');
}

/** Lets the main thread go on, whatever it was told before. */
function disconnect(): void {
  session?.disconnect();
  session = null;
}

/** As in a stack of V8, such as `parse (/srv/app.js:10:3)`. */
function describe({ functionName, location }: Debugger.CallFrame, file: string): string {
  const place = `${file}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1}`;
  return functionName === '' ? place : `${functionName} (${place})`;
}
