/** `npm run build`: the compiler's plain output in `dist/`, and nothing else. */
import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
rmSync(join(root, 'dist'), { recursive: true, force: true });
const compiler = join(root, 'node_modules/typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (status === 0) {
  // The compiler keeps the first line of main.ts, which names the interpreter, but not who may execute the file.
  chmodSync(join(root, 'dist/cli/main.js'), 0o755);
} else {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  process.exitCode = 1;
}
