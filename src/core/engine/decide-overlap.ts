/** Left to the rest of the machine, of its memory. */
const HEADROOM_SHARE = 0.05;
/** Least headroom; the engines grow meanwhile. */
const LEAST_HEADROOM_BYTES = 256 * 1024 * 1024;
/** Where the engine's memory is not known, this share of the machine's has to be free. */
const FREE_SHARE_IF_UNKNOWN = 0.5;

/** What decides whether two engines fit beside each other. All in bytes. */
export interface OverlapFacts {
  /** What new processes may take without pushing others out; the control group's limit counts. */
  readonly availableBytes: number;
  /** Of the machine, or of the control group. */
  readonly totalBytes: number;
  /** Anonymous memory of the present engine, swapped out or not; null where it is not known. */
  readonly engineBytes: number | null;
  /** Context of the new engine, over all slots, as a multiple of the present one's. */
  readonly contextGrowth: number;
  /** Size of the new model's file where it is another one: its pages are not shared with the present engine. */
  readonly newModelBytes: number;
}

/**
 * Whether a second engine may be started beside the present one. It is taken to need what the present one has, which a fresh one
 * does not at first; the model of both is the same mapped file and counts once. Pure.
 */
export function mayOverlap(facts: OverlapFacts): boolean {
  const { availableBytes, totalBytes, engineBytes, contextGrowth, newModelBytes } = facts;
  if (engineBytes === null) return availableBytes - newModelBytes >= FREE_SHARE_IF_UNKNOWN * totalBytes;
  const headroomBytes = Math.max(LEAST_HEADROOM_BYTES, HEADROOM_SHARE * totalBytes);
  return engineBytes * Math.max(1, contextGrowth) + newModelBytes + headroomBytes <= availableBytes;
}
