import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'undici';
import { LlamaCppProvider } from '../../src/core/llm/llama-cpp-provider.ts';
import type { Benchmark } from '../bench-context.ts';
import { endEngine, findEngine, freePort, temporaryModel, untilHealthy } from '../real-engine.ts';

const PROMPT = 'Once upon a time';

/** How long the service is away when the engine is killed. */
export const engineKilled: Benchmark = {
  name: 'engine-killed',
  summary: 'SIGKILL of a supervised engine until the next token, and the cold start of the same command by hand',
  async run({ rounds, random, progress }) {
    const command = await findEngine();
    await using stack = new AsyncDisposableStack();
    const model = await temporaryModel(stack);
    const recovered: number[] = [];
    const cold: number[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
      const measures = [
        async () => recovered.push(await killToToken(command, model)),
        async () => cold.push(await coldStartToToken(command, model)),
      ];
      if (random() < 0.5) measures.reverse();
      for (const measure of measures) await measure();
      // The first start reads the files from the disk.
      if (round === 0) for (const values of [recovered, cold]) values.pop();
    }
    return [
      {
        name: 'engine killed → next token, beyond its cold start',
        unit: 'ms',
        values: recovered.map((ms, round) => ms - (cold[round] ?? Number.NaN)),
        reach: { atMost: 100 },
      },
      { name: '– killed → next token', unit: 'ms', values: recovered },
      { name: '– cold start → first token, by hand', unit: 'ms', values: cold },
    ];
  },
};

/** A provider of its own each time: the second restart within a minute is meant to wait. */
async function killToToken(command: string, model: string): Promise<number> {
  await using provider = new LlamaCppProvider({ model, engine: { command, parallel: 1, ctxSize: 1024 } });
  await provider.generate(PROMPT, { maxTokens: 1 });
  const { pid } = provider.status();
  if (pid === null) throw new Error('the engine has no process');
  process.kill(pid, 'SIGKILL');
  const killedAt = performance.now();
  await provider.generate(PROMPT, { maxTokens: 1 });
  return performance.now() - killedAt;
}

/**
 * Starts the same command by hand, and asks it for one token.
 * @param more further options of llama-server.
 * @param prompt what it reads before that token.
 */
export async function coldStartToToken(
  command: string,
  model: string,
  more: readonly string[] = [],
  prompt: unknown = PROMPT,
): Promise<number> {
  const { args, client, clear } = await ownAddress();
  const startedAt = performance.now();
  const shape = ['--parallel', '1', '--ctx-size', '1024', '--no-ui', '--metrics', '--slots', '--embeddings'];
  const child = spawn(command, ['--model', model, ...shape, ...more, ...args], { stdio: 'ignore' });
  try {
    await untilHealthy(client, child);
    const { body } = await client.request({
      path: '/completion',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt, n_predict: 1 }),
    });
    await body.dump();
    return performance.now() - startedAt;
  } finally {
    await endEngine(child, client);
    await clear();
  }
}

/** The same transport as llamero's: a UNIX socket where there are any. */
async function ownAddress(): Promise<{ args: string[]; client: Client; clear: () => Promise<void> }> {
  if (process.platform === 'win32') {
    const port = await freePort();
    const args = ['--host', '127.0.0.1', '--port', String(port)];
    return { args, client: new Client(`http://127.0.0.1:${port}`), clear: async () => undefined };
  }
  const socketPath = path.join(tmpdir(), `llamero-bench-${process.pid}-${Date.now()}.sock`);
  return {
    args: ['--host', socketPath],
    client: new Client('http://localhost', { socketPath }),
    clear: () => rm(socketPath, { force: true }),
  };
}
