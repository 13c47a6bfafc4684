import { rename, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eraseSlot, type EngineSlot, listSlots, restoreSlot, saveSlot } from './engine-slots.ts';
import { hasRoomForSlot, slotsToSave } from './plan-slot-saving.ts';
import type { ProbeTarget } from './probe.ts';

/** A request that llamero has sent is at the engine within moments; until all are, an idle slot may be about to be taken. */
const SETTLE_MS = 500;
const SETTLE_PAUSE_MS = 5;
/** All of it: who waits for an engine waits for this. */
const CARRY_TIMEOUT_MS = 20_000;

/** An engine whose slots are saved or restored. */
export interface SlotOwner {
  readonly target: ProbeTarget;
  /** What it was started with as `--slot-save-path`. */
  readonly slotsPath: string;
}

/** Where slots come from. */
export interface SlotSource extends SlotOwner {
  /** Context length of a slot, in tokens. */
  readonly contextLength: number;
  /** Slots that requests need which have been sent to it. */
  readonly slotsInUse: () => number;
}

/** The cache of one slot, in a file. */
interface SavedSlot {
  readonly id: number;
  readonly file: string;
  readonly tokens: number;
  readonly bytes: number;
}

/** How many conversations kept their prompt cache. */
export interface CarriedSlots {
  /** Idle slots that held something. */
  readonly idle: number;
  readonly restored: number;
  /** Why others were left behind; null when none was. */
  readonly problem: string | null;
}

export const NO_SLOTS_CARRIED: CarriedSlots = { idle: 0, restored: 0, problem: null };

/**
 * Carries the prompt caches of idle conversations from one engine to the next by way of files. llama-server gives a request to the
 * idle slot whose cache begins most like its prompt (`get_available_slot`, tools/server/server-context.cpp), so a conversation
 * finds its own again, in whichever slot. What cannot be carried is left: a cold cache costs time, and nothing else.
 */
export class SlotCarrier {
  readonly #saved: SavedSlot[] = [];
  readonly #signal = AbortSignal.timeout(CARRY_TIMEOUT_MS);
  #identity = '';
  #bytesPerToken: number | null = null;
  #idle = 0;
  #restored = 0;
  #problem: string | null = null;

  get outcome(): CarriedSlots {
    return { idle: this.#idle, restored: this.#restored, problem: this.#problem };
  }

  /** From one working engine to the other, one slot at a time, so that one file exists at most. Never rejects. */
  async carry(from: SlotSource, to: SlotOwner, slots: number): Promise<CarriedSlots> {
    await this.#each(from, async (slot) => {
      const saved = await this.#save(from, slot, to.slotsPath);
      if (saved !== null) await this.#restore(saved, to, slots);
    });
    return this.outcome;
  }

  /** Saves all into `directory`, for an engine of that identity that is not there yet; see `cacheIdentity`. Never rejects. */
  async save(from: SlotSource, directory: string, identity: string): Promise<void> {
    this.#identity = identity;
    await this.#each(from, async (slot) => {
      const saved = await this.#save(from, slot, directory);
      if (saved !== null) this.#saved.push(saved);
    });
  }

  /** Restores what {@link save} saved, once. Never rejects. */
  async restore(to: SlotOwner, slots: number, identity: string): Promise<CarriedSlots> {
    if (identity !== this.#identity) this.#saved.length = 0;
    for (const saved of this.#saved.splice(0)) {
      try {
        const file = path.join(to.slotsPath, path.basename(saved.file));
        await rename(saved.file, file);
        await this.#restore({ ...saved, file }, to, slots);
      } catch (error) {
        this.#note(error);
      }
    }
    return this.outcome;
  }

  async #each(from: SlotSource, use: (slot: EngineSlot) => Promise<void>): Promise<void> {
    let slots: EngineSlot[];
    try {
      slots = slotsToSave(await this.#settledSlots(from));
    } catch (error) {
      this.#note(error);
      return;
    }
    for (const slot of slots) {
      try {
        await use(slot);
      } catch (error) {
        this.#note(error);
        // Whatever kept this one from being saved (images, a timeout, a dead engine) is in the way of most others.
        if (this.#signal.aborted) return;
      }
    }
  }

  /**
   * llama-server lets whoever saves a busy slot wait until it is idle, and everybody waits for that meanwhile. So no slot is touched
   * before all requests have theirs.
   */
  async #settledSlots(from: SlotSource): Promise<EngineSlot[]> {
    for (const startedAt = performance.now(); ;) {
      const slots = await listSlots(from.target, this.#signal);
      if (slots.filter(({ busy }) => busy).length >= from.slotsInUse()) return slots;
      if (performance.now() - startedAt > SETTLE_MS) throw new Error('requests were still on their way to the engine');
      await sleep(SETTLE_PAUSE_MS);
    }
  }

  /** @returns null for a slot that turned out empty. @throws Error with the reason. */
  async #save(from: SlotSource, slot: EngineSlot, directory: string): Promise<SavedSlot | null> {
    const { freeBytes, totalBytes } = await spaceAt(from.slotsPath);
    const savedBytes = this.#saved.reduce((sum, { bytes }) => sum + bytes, 0);
    const { contextLength } = from;
    const bytesPerToken = this.#bytesPerToken;
    if (!hasRoomForSlot({ ...slot, contextLength, bytesPerToken, savedBytes, freeBytes, totalBytes })) {
      this.#idle += 1;
      throw new Error('there is too little room for them on the disk');
    }
    const name = `${slot.id}.slot`;
    const written = path.join(from.slotsPath, name);
    try {
      const { tokens, bytes } = await saveSlot(from.target, slot.id, name, this.#signal);
      if (tokens === 0) {
        await rm(written, { force: true });
        return null;
      }
      this.#idle += 1;
      this.#bytesPerToken = Math.max(this.#bytesPerToken ?? 0, bytes / tokens);
      const file = path.join(directory, name);
      await rename(written, file);
      return { id: slot.id, file, tokens, bytes };
    } catch (error) {
      await rm(written, { force: true });
      throw error;
    }
  }

  async #restore({ id, file, tokens }: SavedSlot, to: SlotOwner, slots: number): Promise<void> {
    try {
      if (id >= slots) throw new Error('the new engine has fewer slots');
      const restored = await restoreSlot(to.target, id, path.basename(file), this.#signal);
      if (restored.tokens !== tokens) {
        await eraseSlot(to.target, id, this.#signal);
        throw new Error('the new engine read back something else');
      }
      this.#restored += 1;
    } finally {
      await rm(file, { force: true });
    }
  }

  #note(error: unknown): void {
    this.#problem ??= error instanceof Error ? error.message : String(error);
  }
}

async function spaceAt(directory: string): Promise<{ freeBytes: number | null; totalBytes: number | null }> {
  try {
    const { bavail, blocks, bsize } = await statfs(directory);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    // A file system that does not tell: saving will.
    return { freeBytes: null, totalBytes: null };
  }
}
