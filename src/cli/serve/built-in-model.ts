import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDirectory } from '../../core/engine/install/cache-directory.ts';
import { packageVersion } from '../../gateway/package-version.ts';

/** Path of the tiny model that is served when none is named. Written once per version of llamero, into the cache. */
export async function builtInModel(env: NodeJS.ProcessEnv): Promise<string> {
  const path = join(cacheDirectory(env), 'models', `llamero-tiny-${packageVersion()}.gguf`);
  if (!existsSync(path)) {
    const { writeTinyModel } = await import('../../testing/write-tiny-model.ts');
    await mkdir(dirname(path), { recursive: true });
    await writeTinyModel(path);
  }
  return path;
}
