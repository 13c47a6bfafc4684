import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/** The first executable file of that name on `PATH`, as an absolute path; null if there is none. */
export async function findOnPath(name: string, env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const directory of (env['PATH'] ?? env['Path'] ?? '').split(path.delimiter)) {
    if (directory === '') continue;
    for (const extension of executableExtensions(env)) {
      const candidate = path.resolve(directory, name + extension);
      if (await isExecutableFile(candidate)) return candidate;
    }
  }
  return null;
}

/** Whether the path is a file that this user may execute. Directories are not. */
export async function isExecutableFile(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    // Missing, not permitted, or behind something that is not a directory: not executable in each case.
    return false;
  }
}

function executableExtensions(env: NodeJS.ProcessEnv): string[] {
  if (process.platform !== 'win32') return [''];
  return ['', ...(env['PATHEXT'] ?? '.COM;.EXE;.BAT;.CMD').split(';')];
}
