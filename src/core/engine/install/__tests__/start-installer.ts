import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { InstallEngineOptions } from '../install-engine.ts';

/** An installer in another process. */
export interface InstallerProcess {
  child: ChildProcess;
  exited: Promise<unknown>;
  /** Resolves with the first message of that kind: a progress step, or `engine` at the end. Rejects if the installer fails. */
  message(type: string): Promise<unknown>;
}

/** Starts `installer-process.ts`. */
export function startInstaller(
  options: Pick<InstallEngineOptions, 'from' | 'timeouts' | 'source'>,
  env: NodeJS.ProcessEnv,
): InstallerProcess {
  const program = path.join(import.meta.dirname, 'installer-process.ts');
  // Where Node cannot run the sources as they are, NODE_OPTIONS makes it load them compiled.
  const child = fork(program, [JSON.stringify(options)], {
    env: { NODE_OPTIONS: process.env['NODE_OPTIONS'], ...env },
    stdio: 'ignore',
  });
  return {
    child,
    exited: once(child, 'exit'),
    message: (wanted) =>
      new Promise((resolve, reject) => {
        child.on('message', (message: { type: string; value: unknown }) => {
          if (message.type === wanted) resolve(message.value);
          if (message.type === 'error') reject(new Error(String(message.value)));
        });
      }),
  };
}
