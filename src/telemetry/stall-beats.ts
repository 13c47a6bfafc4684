/** What the watched thread and the one that looks on tell each other. */

/** Between two beats of the watched event loop, in ms. */
export const BEAT_INTERVAL_MS = 100;

/** What the thread that looks on is given. */
export interface StallSamplerData {
  /** One number, in shared memory: how often the loop has beaten. */
  readonly beats: Int32Array<SharedArrayBuffer>;
  /** Silence that is a stall, in ms. */
  readonly thresholdMs: number;
}

/** What it found. */
export interface StallReport {
  /** How often the loop had beaten when it fell silent. */
  readonly beat: number;
  /** Innermost first. */
  readonly stack: readonly string[];
}
