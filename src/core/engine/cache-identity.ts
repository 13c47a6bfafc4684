import { stat } from 'node:fs/promises';
import type { EngineConfig } from '../config.ts';
import type { EngineLaunch } from './engine-run.ts';

/**
 * Stands for all that a prompt cache depends on: the program, the model file as it is now, and the options. Two engines with the
 * same identity understand each other's caches; a model file that was exchanged under the same name makes another one.
 */
export async function cacheIdentity(config: Pick<EngineConfig, 'args'>, launch: EngineLaunch): Promise<string> {
  const { command, model } = launch;
  let file = '';
  try {
    const { size, mtimeMs, ino } = await stat(model.path);
    file = `${size} ${mtimeMs} ${ino}`;
  } catch {
    // The engine will say that it is missing.
  }
  return JSON.stringify([command, model.path, file, config.args]);
}
