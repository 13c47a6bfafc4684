import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { parseConfig } from '../../core/config.ts';
import type { Config } from '../../core/config.ts';
import { cacheDirectory } from '../../core/engine/install/cache-directory.ts';
import { locateEngine } from '../../core/engine/install/locate-engine.ts';
import { requireBuildTools } from '../../core/engine/install/toolchain.ts';
import { freeDiskBytes } from '../../core/engine/download/disk-space.ts';
import { estimateMemory } from '../../core/engine/model/estimate-memory.ts';
import { inspectModel } from '../../core/engine/model/inspect-model.ts';
import { readMachineMemory } from '../../core/engine/model/machine-memory.ts';
import { LlameroError } from '../../core/errors.ts';
import { loadConfiguration } from '../configuration.ts';
import type { Configuration } from '../configuration.ts';
import type { ProgressReport } from '../progress.ts';
import type { DoctorFacts, Finding, PortFacts } from './doctor-facts.ts';

/** What {@link gatherFacts} needs. */
export interface GatherOptions {
  /** A model on the command line; else the configured one. */
  readonly model?: string;
  /** A configuration file on the command line. */
  readonly config?: string;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly signal: AbortSignal;
  readonly onProgress: (report: ProgressReport) => void;
}

/** Looks at everything and judges nothing. Downloads and installs nothing; a failure becomes a finding. */
export async function gatherFacts(options: GatherOptions): Promise<DoctorFacts> {
  const { env, signal, onProgress } = options;
  const configuration = await find(() => {
    const flags = { model: options.model, config: options.config };
    return loadConfiguration({ flags, env, cwd: options.cwd });
  });
  // A broken configuration is a finding of its own; the rest is looked at with the defaults.
  const config = configuration.ok ? configuration.value.config : parseConfig({ model: options.model });
  const { command } = config.engine;
  const attached = config.engineUrl !== null;
  const engine = attached ? null : await find(() => locateEngine({ command, env, signal, onProgress }));
  const noEngine = engine !== null && engine.ok && engine.value === null;
  return {
    machine: {
      nodeVersion: process.version,
      cores: availableParallelism(),
      memory: readMachineMemory(),
      openFiles: readOpenFilesLimit(),
      cache: await findCache(env),
    },
    engine,
    toolchain: noEngine ? await find(() => requireBuildTools(env).then(() => null)) : null,
    configuration: configuration.ok ? { ok: true, value: { fileName: configuration.value.fileName } } : configuration,
    model: config.model === null || attached ? null : await findModel(config.model, config, options),
    port: await findPort(config, configuration),
  };
}

async function find<Value>(look: () => Value | Promise<Value>): Promise<Finding<Value>> {
  try {
    return { ok: true, value: await look() };
  } catch (error) {
    if (!(error instanceof LlameroError) || error.code === 'cancelled') throw error;
    return { ok: false, message: error.message };
  }
}

async function findModel(reference: string, config: Config, options: GatherOptions): Promise<DoctorFacts['model']> {
  const { parallel, ctxSize } = config.engine;
  return await find(async () => {
    const { env, signal, onProgress } = options;
    const inspected = await inspectModel({ reference, env, signal, onProgress });
    return { inspected, parallel, ctxSize, memory: estimateMemory(inspected.facts, { parallel, ctxSize }) };
  });
}

/** Free space where the cache is or would be made. */
async function findCache(env: NodeJS.ProcessEnv): Promise<DoctorFacts['machine']['cache']> {
  const directory = cacheDirectory(env);
  for (let candidate = directory; ; candidate = dirname(candidate)) {
    try {
      await access(candidate, constants.W_OK);
      return { ok: true, value: { directory, freeBytes: await freeDiskBytes(candidate) } };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' || dirname(candidate) === candidate) {
        return { ok: false, message: `${directory} cannot be written (${code})` };
      }
    }
  }
}

/** Node raises its soft limit to the hard one when it starts; null where the platform has none. */
function readOpenFilesLimit(): number | null {
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  // Otherwise the report looks up the names of all open connections.
  report.excludeNetwork = true;
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft: number | string } } };
  const soft = userLimits?.open_files?.soft;
  if (soft === undefined) return null;
  return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft);
}

async function findPort(config: Config, configuration: Finding<Configuration>): Promise<PortFacts | null> {
  const { host, port } = config.gateway;
  if (port === 'auto' || port === 0) return null;
  const named = configuration.ok && configuration.value.origin('gateway.port') !== null;
  return { host, port, named, refused: await tryListen(host, port) };
}

async function tryListen(host: string, port: number): Promise<string | null> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
