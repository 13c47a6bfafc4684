import { homedir } from 'node:os';
import path from 'node:path';

/**
 * Where llamero keeps what it can fetch or build again: `LLAMERO_CACHE_DIR`, else the platform's cache directory
 * (`$XDG_CACHE_HOME/llamero` or `~/.cache/llamero`; macOS `~/Library/Caches/llamero`; Windows
 * `%LOCALAPPDATA%\llamero\Cache`). Always absolute; it need not exist.
 */
export function cacheDirectory(env: NodeJS.ProcessEnv, platform: NodeJS.Platform = process.platform): string {
  const chosen = env['LLAMERO_CACHE_DIR'];
  if (chosen) return path.resolve(chosen);
  const home = env['HOME'] || homedir();
  if (platform === 'win32') {
    const local = env['LOCALAPPDATA'] || path.join(env['USERPROFILE'] || home, 'AppData', 'Local');
    return path.join(local, 'llamero', 'Cache');
  }
  const xdg = env['XDG_CACHE_HOME'];
  // The XDG specification: a relative path is to be ignored.
  if (xdg && path.isAbsolute(xdg)) return path.join(xdg, 'llamero');
  return platform === 'darwin' ? path.join(home, 'Library', 'Caches', 'llamero') : path.join(home, '.cache', 'llamero');
}

/** Where installed engines and unfinished installations live, below {@link cacheDirectory}. */
export function engineCacheDirectory(env: NodeJS.ProcessEnv): string {
  return path.join(cacheDirectory(env), 'engine');
}
