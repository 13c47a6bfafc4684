/** How far one slot of an engine has come. */
export interface SlotProgress {
  readonly busy: boolean;
  /** Number of the task in it, or of the latest one; null before the first. */
  readonly task: number | null;
  /** Prompt tokens read and tokens generated for that task. */
  readonly tokens: number;
}

/** What happened in the slots between two looks. */
export interface SlotsCompared {
  /** Anything at all: a slot that advanced, took a task or gave one up. */
  readonly advanced: boolean;
  /** Slots that worked on the same task in both looks and got on with it. */
  readonly advancing: number;
}

/** Compares two looks at the slots of one engine, slot by slot. Pure. */
export function compareSlots(before: readonly SlotProgress[], after: readonly SlotProgress[]): SlotsCompared {
  let advanced = before.length !== after.length;
  let advancing = 0;
  for (const [index, now] of after.entries()) {
    const then = before[index];
    if (then === undefined) continue;
    const sameTask = then.task === now.task;
    if (!sameTask || then.busy !== now.busy || then.tokens !== now.tokens) advanced = true;
    if (sameTask && now.busy && now.tokens !== then.tokens) advancing += 1;
  }
  return { advanced, advancing };
}
