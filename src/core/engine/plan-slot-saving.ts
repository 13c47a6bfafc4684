import type { EngineSlot } from './engine-slots.ts';

/** Of the file system with the private directory, left to everybody else. */
const RESERVE_SHARE = 0.1;
/** Of all saved slots that are kept at once. */
export const MOST_SAVED_BYTES = 16 * 1024 ** 3;

/** What is known before one slot is saved. */
export interface SlotSavingFacts {
  /** Tokens in its cache; null: unknown. */
  readonly tokens: number | null;
  /** The most that a slot holds, in tokens. */
  readonly contextLength: number;
  /** From the slots saved so far; null before the first. */
  readonly bytesPerToken: number | null;
  /** Of the slots that are kept at the moment. */
  readonly savedBytes: number;
  /** Of the file system; null where it does not tell. */
  readonly freeBytes: number | null;
  readonly totalBytes: number | null;
}

/**
 * The slots worth saving: idle, and not known to be empty. The smallest first: it tells what a token takes before the large ones
 * are written. Pure.
 */
export function slotsToSave(slots: readonly EngineSlot[]): EngineSlot[] {
  const worth = slots.filter(({ busy, tokens }) => !busy && tokens !== 0);
  return worth.toSorted((a, b) => (a.tokens ?? Infinity) - (b.tokens ?? Infinity) || a.id - b.id);
}

/** Whether there is room for the next slot: on the file system, and within {@link MOST_SAVED_BYTES}. Pure. */
export function hasRoomForSlot(facts: SlotSavingFacts): boolean {
  const { tokens, contextLength, bytesPerToken, savedBytes, freeBytes, totalBytes } = facts;
  const neededBytes = (bytesPerToken ?? 0) * (tokens ?? contextLength);
  if (savedBytes + neededBytes > MOST_SAVED_BYTES) return false;
  return freeBytes === null || totalBytes === null || freeBytes - neededBytes >= RESERVE_SHARE * totalBytes;
}
