import { stat } from 'node:fs/promises';
import type { EngineConfig } from '../config.ts';
import type { OverlapFacts } from './decide-overlap.ts';
import { anonymousMemory } from './engine-memory.ts';
import type { EngineLaunch } from './engine-run.ts';
import { readMachineMemory } from './model/machine-memory.ts';

/** What an engine runs, as far as it concerns memory. */
export interface EngineSize {
  readonly config: Pick<EngineConfig, 'parallel' | 'ctxSize'>;
  readonly launch: EngineLaunch;
}

/** Gathers what {@link mayOverlap} decides by. */
export async function overlapFacts(pid: number | null, present: EngineSize, next: EngineSize): Promise<OverlapFacts> {
  const { availableBytes, totalBytes, limitBytes } = readMachineMemory();
  const isSameModel = present.launch.model.path === next.launch.model.path;
  return {
    availableBytes,
    totalBytes: limitBytes ?? totalBytes,
    engineBytes: pid === null ? null : await anonymousMemory(pid),
    contextGrowth: contextOf(next) / contextOf(present),
    newModelBytes: isSameModel ? 0 : await sizeOf(next.launch.model.path),
  };
}

function contextOf({ config }: EngineSize): number {
  return config.parallel * config.ctxSize;
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch {
    // The engine will say that it is missing.
    return 0;
  }
}
