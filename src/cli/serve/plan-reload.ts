import type { Config } from '../../core/config.ts';

/** What a configuration that was read again changes. */
export interface ReloadPlan {
  /** Keys that a planned restart of the engine applies. */
  readonly engineKeys: readonly string[];
  /** Keys that take effect only when llamero itself is started again. */
  readonly otherKeys: readonly string[];
}

/**
 * Compares two configurations. The engine's own settings and the model are applied by a planned restart of the engine; everything
 * else by a start of llamero, as is all where the engine is somebody else's. Pure.
 */
export function planReload(before: Config, after: Config): ReloadPlan {
  const keys = changedKeys(before, after, '');
  const mayRestart = before.engineUrl === null && after.engineUrl === null;
  const isEngine = (key: string): boolean => mayRestart && (key === 'model' || key.startsWith('engine.'));
  return { engineKeys: keys.filter(isEngine), otherKeys: keys.filter((key) => !isEngine(key)) };
}

/** Paths of the values that differ; a list is one value. */
function changedKeys(before: unknown, after: unknown, path: string): string[] {
  if (!isSection(before) || !isSection(after)) {
    return JSON.stringify(before) === JSON.stringify(after) ? [] : [path];
  }
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => changedKeys(before[name], after[name], path === '' ? name : `${path}.${name}`));
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
