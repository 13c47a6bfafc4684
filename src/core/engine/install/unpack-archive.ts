import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { LlameroError } from '../../errors.ts';
import { runCommand } from './run-command.ts';

/**
 * Unpacks a release archive into a directory: `.tar.gz` without its one top folder, `.zip` as it is.
 * Zip needs the `tar` of the system (bsdtar: part of Windows 10 and later, and of macOS).
 * @throws LlameroError `install_failed` when the archive cannot be read, `cancelled`.
 */
export async function unpackArchive(
  archive: string,
  directory: string,
  options: { env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const name = path.basename(archive);
  try {
    if (archive.endsWith('.zip')) await unpackZip(archive, directory, options);
    else {
      const { extract } = await import('tar');
      await extract({ file: archive, cwd: directory, strip: 1, strict: true });
    }
  } catch (error) {
    if (error instanceof LlameroError) throw error;
    throw new LlameroError('install_failed', `${name} cannot be unpacked: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function unpackZip(
  archive: string,
  directory: string,
  options: { env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<void> {
  // Git for Windows puts a GNU tar, which reads no zip, in front on PATH.
  const system = path.join(options.env['SystemRoot'] ?? 'C:\\Windows', 'System32', 'tar.exe');
  const tar = process.platform === 'win32' ? system : 'tar';
  const result = await runCommand(tar, ['-xf', archive, '-C', directory], options);
  if (result.code !== 0) throw new Error(result.tail.join('; ') || `tar ended with ${result.code ?? result.signal}`);
}
