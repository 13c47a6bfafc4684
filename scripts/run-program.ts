import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs a program to its end.
 * @returns its standard output.
 * @throws Error with everything it wrote, when it does not end with code 0.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: { cwd: string; signal: AbortSignal },
): Promise<string> {
  const child = spawn(command, args, {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Windows starts .cmd files through its shell only.
    shell: command.endsWith('.cmd'),
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}\n${output}${errors}`);
  return output;
}
