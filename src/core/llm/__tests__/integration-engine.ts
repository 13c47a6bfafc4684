import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import type { IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { writeTinyModel } from '../../../testing/index.ts';
import { LlamaCppProvider } from '../llama-cpp-provider.ts';

/**
 * What the integration tests run on: `model` is a real model (`TEST_MODEL_PATH`), whose answers must make sense as well;
 * `tiny` the real llama-server with the tiny model, whose answers must have the right shape.
 */
export type IntegrationEngineKind = 'model' | 'tiny';

/** A started provider, and a way to look at its llama-server past the provider. */
export interface IntegrationEngine extends AsyncDisposable {
  readonly kind: IntegrationEngineKind;
  readonly provider: LlamaCppProvider;
  /** Slots of the engine. */
  readonly slots: number;
  /** Where the engine listens, as its command line says. */
  readonly address: { readonly socketPath: string } | { readonly port: number };
  /** A gauge of llama-server's own `/metrics`, by its name without the `llamacpp:` prefix. */
  gauge(name: string): Promise<number>;
}

/** Starts the engine that the environment asks for, by default the tiny model. */
export async function openIntegrationEngine(env: NodeJS.ProcessEnv): Promise<IntegrationEngine> {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-integration-'));
  const kind: IntegrationEngineKind = env['TEST_MODEL_PATH'] === undefined ? 'tiny' : 'model';
  const model = env['TEST_MODEL_PATH'] ?? (await writeTinyModel(path.join(folder, 'tiny.gguf'))).path;
  // One thread: two of them only wait for each other where a model is this small and the machine busy.
  const args = kind === 'tiny' ? ['--threads', '1'] : [];
  const provider = new LlamaCppProvider({ model, engine: { parallel: 4, ctxSize: 4096, args } }, { env });
  let address: IntegrationEngine['address'] | undefined;
  provider.on('engine-start', ({ args: used }) => {
    address = addressIn(used);
  });
  await provider.start();
  if (address === undefined) throw new Error('no engine-start event');
  const target = address;
  return {
    kind,
    provider,
    slots: provider.getModelInfo().slots ?? 0,
    address,
    gauge: async (name) => readGauge(await get(target, '/metrics'), name),
    [Symbol.asyncDispose]: async () => {
      await provider.cleanup();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function addressIn(args: readonly string[]): IntegrationEngine['address'] {
  const host = args[args.indexOf('--host') + 1] ?? '';
  return host.endsWith('.sock') ? { socketPath: host } : { port: Number(args[args.indexOf('--port') + 1]) };
}

async function get(address: IntegrationEngine['address'], target: string): Promise<string> {
  const call = request({ ...address, path: target, agent: false });
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return text(response);
}

function readGauge(metrics: string, name: string): number {
  const value = new RegExp(`^llamacpp:${name} (\\S+)$`, 'm').exec(metrics)?.[1];
  if (value === undefined) throw new Error(`llama-server has no metric '${name}'`);
  return Number(value);
}
