import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Benchmark } from '../bench-context.ts';
import { pinCommand } from '../machine.ts';
import { MeasuredProcess } from '../processes/measured-process.ts';
import { freePort } from '../real-engine.ts';
import { shuffled } from '../statistics.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const COMMAND = path.join(ROOT, 'dist/cli/main.js');
const LOOK_MS = 1;
const LISTEN_MS = 20_000;
/** The floor: what Node itself takes until a server listens. */
const FLOOR = 'require("node:http").createServer().listen(Number(process.argv[1]), "127.0.0.1")';

/** How soon `llamero serve` takes connections, as it is installed: compiled. */
export const serveStart: Benchmark = {
  name: 'serve-start',
  summary: '`llamero serve --engine-url` from the start of its process until it listens',
  async run({ rounds, random, progress }) {
    await ensureBuilt();
    await using upstream = MeasuredProcess.start('upstream.ts', 'load', { slots: 4 });
    const engineUrl = `http://127.0.0.1:${await upstream.port}`;
    const programs = {
      serve: (port: number) => [COMMAND, 'serve', '--engine-url', engineUrl, '--port', String(port)],
      floor: (port: number) => ['-e', FLOOR, String(port)],
    };
    const found: Record<keyof typeof programs, number[]> = { serve: [], floor: [] };
    for (let round = 0; round <= rounds; round += 1) {
      progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
      for (const name of shuffled(['serve', 'floor'] as const, random)) {
        const port = await freePort();
        const ms = await untilListening(programs[name](port), port);
        if (round > 0) found[name].push(ms);
      }
    }
    return [
      { name: '`llamero serve` to listening', unit: 'ms', values: found.serve, reach: { atMost: 250 } },
      { name: '– an empty node:http server', unit: 'ms', values: found.floor },
    ];
  },
};

async function untilListening(args: readonly string[], port: number): Promise<number> {
  const [program, ...programArgs] = pinCommand('gateway', [process.execPath, ...args]);
  const startedAt = performance.now();
  // Elsewhere than in a directory that may hold a configuration file.
  const child = spawn(program, programArgs, { stdio: ['ignore', 'ignore', 'pipe'], cwd: tmpdir() });
  let problem = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (problem += text));
  const exited = once(child, 'exit');
  try {
    while (!(await listens(port))) {
      if (child.exitCode !== null || performance.now() - startedAt > LISTEN_MS) {
        throw new Error(`it does not listen: ${problem}`);
      }
      await sleep(LOOK_MS);
    }
    return performance.now() - startedAt;
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Compiles unless what is there is newer than every source. */
async function ensureBuilt(): Promise<void> {
  const built = await stat(COMMAND).then(
    ({ mtimeMs }) => mtimeMs,
    // Not built yet.
    () => 0,
  );
  const sources = await readdir(path.join(ROOT, 'src'), { recursive: true, withFileTypes: true });
  for (const source of sources) {
    if (!source.isFile()) continue;
    const { mtimeMs } = await stat(path.join(source.parentPath, source.name));
    if (mtimeMs < built) continue;
    await promisify(execFile)(process.execPath, [path.join(ROOT, 'scripts/build.ts')], { cwd: ROOT });
    return;
  }
}
