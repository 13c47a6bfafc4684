import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { startFakeLlamaServer, writeTinyModel } from '../../../testing/index.ts';
import { LlamaCppProvider } from '../llama-cpp-provider.ts';

/**
 * What the integration tests run on: `model` is a real model (`TEST_MODEL_PATH`), whose answers must make sense as well;
 * `tiny` the real llama-server with the tiny model, whose answers must have the right shape; `double` the double of
 * llama-server (`SKIP_LLAMA_INTEGRATION=true`), which knows JSON schemas but no grammars and no cache.
 */
export type IntegrationEngineKind = 'model' | 'tiny' | 'double';

type EngineAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** A started provider, and a way to look at its llama-server past the provider. Disposing of it ends both. */
export interface IntegrationEngine extends AsyncDisposable {
  readonly kind: IntegrationEngineKind;
  readonly provider: LlamaCppProvider;
  /** Process id of the llama-server. */
  readonly pid: number;
  /** Slots of the engine. */
  readonly slots: number;
  /** Where the engine listens. */
  readonly address: EngineAddress;
  /** A gauge of llama-server's own `/metrics`, by its name without the `llamacpp:` prefix. */
  gauge(name: string): Promise<number>;
}

const SLOTS = 4;
const CONTEXT_LENGTH = 4096;

/** Starts the engine that the environment asks for, by default the tiny model. */
export async function openIntegrationEngine(env: NodeJS.ProcessEnv): Promise<IntegrationEngine> {
  return env['SKIP_LLAMA_INTEGRATION'] === 'true' ? openDouble() : openReal(env);
}

async function openReal(env: NodeJS.ProcessEnv): Promise<IntegrationEngine> {
  const folder = await mkdtemp(path.join(tmpdir(), 'llamero-integration-'));
  const kind: IntegrationEngineKind = env['TEST_MODEL_PATH'] === undefined ? 'tiny' : 'model';
  const model = env['TEST_MODEL_PATH'] ?? (await writeTinyModel(path.join(folder, 'tiny.gguf'))).path;
  // One thread: two of them only wait for each other where a model is this small and the machine busy.
  const args = kind === 'tiny' ? ['--threads', '1'] : [];
  const provider = new LlamaCppProvider({ model, engine: { parallel: SLOTS, ctxSize: CONTEXT_LENGTH, args } }, { env });
  let address: EngineAddress | undefined;
  provider.on('engine-start', ({ args: used }) => {
    address = addressIn(used);
  });
  const close = async (): Promise<void> => {
    await provider.cleanup();
    await rm(folder, { recursive: true, force: true });
  };
  return started(kind, provider, close, () => ({ pid: provider.status().pid, address }));
}

async function openDouble(): Promise<IntegrationEngine> {
  const double = await startFakeLlamaServer({
    slots: SLOTS,
    contextLength: CONTEXT_LENGTH,
    tokensPerSecond: 2000,
    args: ['--embeddings'],
  });
  const { pid, port } = double;
  const provider = LlamaCppProvider.connect(double.url);
  const close = async (): Promise<void> => {
    await provider.cleanup();
    await double.stop();
  };
  return started('double', provider, close, () => ({ pid, address: { host: '127.0.0.1', port: port ?? 0 } }));
}

/** Starts the provider; if that fails, nothing is left of either. */
async function started(
  kind: IntegrationEngineKind,
  provider: LlamaCppProvider,
  close: () => Promise<void>,
  found: () => { readonly pid: number | null; readonly address: EngineAddress | undefined },
): Promise<IntegrationEngine> {
  try {
    await provider.start();
    const { pid, address } = found();
    assert.ok(pid !== null && address !== undefined, 'a started engine has a process and an address');
    return {
      kind,
      provider,
      pid,
      address,
      slots: provider.getModelInfo().slots ?? 0,
      gauge: async (name) => readGauge(await get(address, '/metrics'), name),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function addressIn(args: readonly string[]): EngineAddress {
  const host = args[args.indexOf('--host') + 1] ?? '';
  return host.endsWith('.sock') ? { socketPath: host } : { host, port: Number(args[args.indexOf('--port') + 1]) };
}

async function get(address: EngineAddress, target: string): Promise<string> {
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
