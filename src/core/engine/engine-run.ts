import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { Pool } from 'undici';
import type { EngineConfig } from '../config.ts';
import { LlameroError } from '../errors.ts';
import type { LlameroEmitter } from '../events.ts';
import { openConnections } from './connections.ts';
import { type EngineAddress, type EngineModel, engineArguments } from './engine-arguments.ts';
import type { EngineFacts, ReadyEngine } from './engine-endpoint.ts';
import { EngineProcess, type EngineProcessEnd } from './engine-process.ts';
import { createRuntimeDirectory, type RuntimeDirectory } from './runtime-directory.ts';
import type { ProbeTarget } from './probe.ts';
import { waitUntilVerified } from './startup.ts';
import { takeVitalSigns, type VitalSigns } from './vital-signs.ts';

/** From SIGTERM to SIGKILL. Its connections are closed before, so an engine in order needs some 20 ms. */
const TERMINATE_MS = 2000;

/** What to run; found or installed before the first start. */
export interface EngineLaunch {
  readonly command: string;
  readonly model: EngineModel;
}

export interface EngineRunOptions {
  readonly generation: number;
  readonly launch: EngineLaunch;
  readonly config: EngineConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly events: LlameroEmitter;
  /** TCP port to use instead of the configured one, after that was found taken. */
  readonly port: number | null;
}

/** One generation of a supervised engine: its process, private directory and connections, which live and go together. */
export class EngineRun {
  readonly generation: number;
  readonly process: EngineProcess;
  readonly ended: Promise<EngineProcessEnd>;
  readonly startedAt = performance.now();
  readonly #directory: RuntimeDirectory;
  readonly #pool: Pool;
  readonly #headers: Readonly<Record<string, string>>;

  private constructor(
    generation: number,
    engineProcess: EngineProcess,
    directory: RuntimeDirectory,
    pool: Pool,
    apiKey: string | null,
  ) {
    this.generation = generation;
    this.process = engineProcess;
    this.#directory = directory;
    this.#headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
    this.#pool = pool;
    this.ended = engineProcess.ended;
  }

  /** Spawns the process. Resolves as soon as it runs; see {@link verified} for when it is of use. */
  static async spawn(options: EngineRunOptions): Promise<EngineRun> {
    const { generation, launch, config, events } = options;
    const directory = await createRuntimeDirectory(options.env);
    let engineProcess: EngineProcess | null = null;
    try {
      const address: EngineAddress =
        config.transport === 'unix'
          ? { kind: 'unix', socketPath: directory.socketPath }
          : { kind: 'tcp', port: options.port ?? (config.port === 'auto' ? await freePort() : config.port) };
      // A TCP port can be reached by every user of the machine, the socket's directory only by ours.
      const apiKey = address.kind === 'tcp' ? randomBytes(24).toString('base64url') : null;
      const args = engineArguments(config, launch.model, address, directory.slotsPath);
      events.publish('engine-start', { generation, command: launch.command, args });
      engineProcess = new EngineProcess({
        command: launch.command,
        args,
        // Through the environment, since a command line is there for everybody to read.
        env: apiKey === null ? options.env : { ...options.env, LLAMA_API_KEY: apiKey },
        directory: directory.path,
        onLine: (line) => events.publish('engine-log', { generation, line }),
      });
      const run = new EngineRun(generation, engineProcess, directory, await connectionsTo(address), apiKey);
      if (engineProcess.pid !== undefined) await directory.record(engineProcess.pid);
      return run;
    } catch (error) {
      engineProcess?.kill('SIGKILL');
      await engineProcess?.ended;
      await directory.remove();
      throw error;
    }
  }

  /** How probes and slot actions reach it. */
  get target(): ProbeTarget {
    return { dispatcher: this.#pool, headers: this.#headers };
  }

  /** Waits until the engine is loaded and has told its facts; see `waitUntilVerified`. */
  verified(stallMs: number, signal: AbortSignal): Promise<EngineFacts> {
    return waitUntilVerified(this.target, this.process, stallMs, signal);
  }

  /** Where it saves slots. */
  get slotsPath(): string {
    return this.#directory.slotsPath;
  }

  /** This run as requests use it. */
  asReady(facts: EngineFacts): ReadyEngine {
    return { generation: this.generation, dispatcher: this.#pool, headers: this.#headers, facts };
  }

  /**
   * Ends the process: closes llamero's connections, since a request in flight would hold a llama-server at SIGTERM for
   * ever, then SIGTERM, then SIGKILL to the group.
   */
  async terminate(reason: LlameroError): Promise<void> {
    await this.#pool.destroy(reason);
    this.process.kill('SIGTERM');
    const killTimer = setTimeout(() => this.process.kill('SIGKILL'), TERMINATE_MS);
    await this.ended;
    clearTimeout(killTimer);
  }

  /** Ends a process that does not hear: connections are destroyed and SIGKILL is sent at once. */
  async kill(reason: LlameroError): Promise<void> {
    this.process.kill('SIGKILL');
    await this.#pool.destroy(reason);
  }

  /** Whether it lives; see `takeVitalSigns`. */
  vitalSigns(limitMs: number): Promise<VitalSigns> {
    return takeVitalSigns(this.target, this.process.pid ?? null, limitMs);
  }

  /** Removes what is left once the process has ended. */
  async clear(): Promise<void> {
    await this.#pool.destroy(new LlameroError('engine_error', 'The engine is gone.'));
    await this.#directory.remove();
  }
}

function connectionsTo(address: EngineAddress): Promise<Pool> {
  return address.kind === 'unix'
    ? openConnections('http://localhost', { socketPath: address.socketPath })
    : openConnections(`http://127.0.0.1:${address.port}`, {});
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  server.close();
  await once(server, 'close');
  if (bound === null || typeof bound === 'string')
    throw new LlameroError('engine_unavailable', 'No free TCP port was found.');
  return bound.port;
}
