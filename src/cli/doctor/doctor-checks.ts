import { describeVersion } from '../../core/engine/install/engine-version.ts';
import { formatBytes } from '../../core/engine/download/byte-size.ts';
import { memoryFit } from '../../core/engine/model/machine-memory.ts';
import type { MachineMemory } from '../../core/engine/model/machine-memory.ts';
import { describeFit, formatCount } from '../model-words.ts';
import type { DoctorFacts, ModelFacts, PortFacts } from './doctor-facts.ts';

/** One judgement. Only a `problem` keeps llamero from working. */
export interface Check {
  readonly name: string;
  readonly status: 'ok' | 'warning' | 'problem';
  readonly message: string;
  /** What to do; absent when all is well, or when the message says it. */
  readonly remedy?: string;
}

const LEAST_NODE = [22, 19] as const;
/** A built engine with its sources takes about 0.7 GB. */
const LITTLE_DISK_BYTES = 2_000_000_000;
/** A gateway with a few hundred streams needs two files for each. */
const FEW_OPEN_FILES = 4096;

/** Judges everything, in the order in which it matters. Pure. */
export function doctorChecks(facts: DoctorFacts): Check[] {
  return [
    checkNode(facts.machine.nodeVersion),
    checkMachine(facts.machine.cores, facts.machine.memory),
    checkOpenFiles(facts.machine.openFiles),
    checkDisk(facts.machine.cache),
    checkEngine(facts.engine, facts.toolchain),
    checkConfiguration(facts.configuration),
    ...(facts.model === null ? [NO_MODEL] : checkModel(facts.model, facts.machine.memory)),
    checkPort(facts.port),
  ].filter((check) => check !== null);
}

const NO_MODEL: Check = {
  name: 'model',
  status: 'ok',
  message: 'none named: the built-in tiny model would be served, whose output is noise',
};

/** The Node version against what llamero needs. */
export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  const [leastMajor, leastMinor] = LEAST_NODE;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) {
    return { name: 'node', status: 'ok', message: version };
  }
  return {
    name: 'node',
    status: 'problem',
    message: `${version} is too old`,
    remedy: `Install Node ${LEAST_NODE.join('.')} or newer: https://nodejs.org/en/download`,
  };
}

/** Cores and memory. */
export function checkMachine(cores: number, memory: MachineMemory): Check {
  const limit = memory.limitBytes === null ? '' : `, container limit ${formatBytes(memory.limitBytes)}`;
  const message = `${cores} cores, ${formatBytes(memory.totalBytes)} of memory, ${formatBytes(memory.availableBytes)} available${limit}`;
  return { name: 'machine', status: 'ok', message };
}

/** The limit of open files; null where there is none. */
export function checkOpenFiles(limit: number | null): Check | null {
  if (limit === null) return null;
  if (limit >= FEW_OPEN_FILES) return { name: 'open files', status: 'ok', message: `up to ${limit}` };
  return {
    name: 'open files',
    status: 'warning',
    message: `only ${limit}: each stream needs two`,
    remedy: `Raise the limit before starting: \`ulimit -n 65536\`, or LimitNOFILE=65536 in a systemd unit.`,
  };
}

/** Space for engines and models. */
export function checkDisk(cache: DoctorFacts['machine']['cache']): Check {
  const remedy = 'Set LLAMERO_CACHE_DIR to a folder that can be written, on a disk with some GB free.';
  if (!cache.ok) return { name: 'cache', status: 'problem', message: cache.message, remedy };
  const { directory, freeBytes } = cache.value;
  const message = `${formatBytes(freeBytes)} free for ${directory}`;
  if (freeBytes >= LITTLE_DISK_BYTES) return { name: 'cache', status: 'ok', message };
  return { name: 'cache', status: 'warning', message: `only ${message}`, remedy: `Free some space. ${remedy}` };
}

/** llama-server: found and new enough, or how to get one. */
export function checkEngine(engine: DoctorFacts['engine'], toolchain: DoctorFacts['toolchain']): Check | null {
  if (engine === null) return null;
  if (!engine.ok) return { name: 'engine', status: 'problem', message: engine.message };
  if (engine.value !== null) {
    const { path, origin } = engine.value;
    return {
      name: 'engine',
      status: 'ok',
      message: `llama-server ${describeVersion(engine.value)}, ${origin}: ${path}`,
    };
  }
  if (toolchain === null || toolchain.ok) {
    return {
      name: 'engine',
      status: 'warning',
      message: 'no llama-server yet; it can be built here if the official build cannot be downloaded',
      remedy: '`llamero engine install` gets one now; `llamero serve` does it when it is first needed.',
    };
  }
  return {
    name: 'engine',
    status: 'problem',
    message: 'no llama-server, and none can be built here',
    remedy: `\`llamero engine install\` may download an official build. Otherwise: ${toolchain.message}`,
  };
}

/** Configuration from file and environment. */
export function checkConfiguration(configuration: DoctorFacts['configuration']): Check {
  if (!configuration.ok) return { name: 'configuration', status: 'problem', message: configuration.message };
  const { fileName } = configuration.value;
  const message = fileName === null ? 'no file; defaults apply' : `${fileName} is valid`;
  return { name: 'configuration', status: 'ok', message };
}

/** The model: readable, fits, can chat, and has the context that is asked of it. */
export function checkModel(model: NonNullable<DoctorFacts['model']>, memory: MachineMemory): Check[] {
  if (!model.ok) return [{ name: 'model', status: 'problem', message: model.message }];
  const { facts, location } = model.value.inspected;
  const name = facts.name ?? location;
  const message = `${name}: ${facts.architecture}, ${formatCount(facts.parameters)} weights, ${facts.quantisation}, ${formatBytes(facts.fileBytes)}`;
  return [
    { name: 'model', status: 'ok', message },
    checkFit(model.value, memory),
    checkContext(model.value),
    checkChatTemplate(facts.chatTemplate),
  ];
}

function checkFit({ memory: need, parallel, ctxSize }: ModelFacts, machine: MachineMemory): Check {
  const fit = memoryFit(need.totalBytes, machine);
  const slots = `${parallel} slots of ${ctxSize} tokens`;
  const message = `${formatBytes(need.totalBytes)} for weights and ${slots}: ${describeFit(fit)}`;
  if (fit === 'fits') return { name: 'memory', status: 'ok', message };
  const remedy = 'Take a smaller quantisation or model, fewer slots (--parallel) or a shorter context (--ctx-size).';
  return { name: 'memory', status: fit === 'tight' ? 'warning' : 'problem', message, remedy };
}

function checkContext({ inspected, ctxSize }: ModelFacts): Check {
  const { contextLength } = inspected.facts;
  if (contextLength === null || ctxSize <= contextLength) {
    return { name: 'context', status: 'ok', message: `${ctxSize} of ${contextLength ?? 'unknown'} tokens` };
  }
  return {
    name: 'context',
    status: 'warning',
    message: `${ctxSize} tokens per slot, but the model was trained for ${contextLength}`,
    remedy: `Use --ctx-size ${contextLength} or less.`,
  };
}

function checkChatTemplate(present: boolean): Check {
  if (present) return { name: 'chat template', status: 'ok', message: 'in the model' };
  return {
    name: 'chat template',
    status: 'warning',
    message: 'none in the model: chat requests get a generic one that may not suit it',
    remedy: 'Use /v1/completions, or name one: llamero serve MODEL -- --chat-template NAME',
  };
}

/** The port of the gateway; null when any free one would be taken. */
export function checkPort(port: PortFacts | null): Check | null {
  if (port === null) return null;
  const address = `${port.host}:${port.port}`;
  if (port.refused === null) return { name: 'port', status: 'ok', message: `${address} is free` };
  if (port.refused !== 'EADDRINUSE') {
    const remedy = 'Choose an address of this machine (--host) and a port above 1023 (--port).';
    return { name: 'port', status: 'problem', message: `${address} cannot be used (${port.refused})`, remedy };
  }
  return {
    name: 'port',
    status: port.named ? 'problem' : 'warning',
    message: `${address} is taken${port.named ? '' : ': serve would take the next free one'}`,
    remedy: 'Stop what listens there, or use another port: --port auto takes any free one.',
  };
}
