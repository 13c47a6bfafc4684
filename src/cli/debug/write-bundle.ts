import { chmod, constants, copyFile, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { create } from 'tar';
import { LlameroError } from '../../core/errors.ts';
import type { BundleFile } from './bundle-files.ts';

/** The folder that everything unpacks into. */
const FOLDER = 'llamero-debug';

/**
 * Packs the files into a new `.tar.gz`, readable by its owner alone.
 * @returns its size in bytes.
 * @throws LlameroError `invalid_options` when the file is there already or cannot be written.
 */
export async function writeBundle(out: string, files: readonly BundleFile[]): Promise<number> {
  const work = await mkdtemp(path.join(os.tmpdir(), 'llamero-bundle-'));
  try {
    for (const { name, text } of files) {
      const file = path.join(work, FOLDER, name);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, text, { mode: 0o600 });
    }
    const packed = path.join(work, 'bundle.tar.gz');
    // Portable: without names and numbers of users.
    await create({ gzip: true, portable: true, cwd: work, file: packed }, [FOLDER]);
    await chmod(packed, 0o600);
    await copyFile(packed, out, constants.COPYFILE_EXCL).catch((error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EEXIST' ? 'it is there already' : (error.code ?? error.message);
      throw new LlameroError('invalid_options', `--out: cannot write ${out}: ${reason}`, { cause: error });
    });
    return (await stat(out)).size;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
