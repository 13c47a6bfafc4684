import type { LlameroError } from '../errors.ts';
import type { ExitCauseName } from '../events.ts';

/** Why an engine is not there, in words for people and in a name for programs. */
export interface ExitCause {
  readonly name: ExitCauseName;
  /** One sentence; says what to do where there is something to do. No file paths: it may cross HTTP. */
  readonly message: string;
  /** Whether another try without a change by somebody is pointless. */
  readonly final: boolean;
  /** The failure behind it, for whoever runs llamero; its message may name files. */
  readonly error?: LlameroError;
}

/** What is known about the end of a process. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Last lines of the log, oldest first. */
  readonly log: readonly string[];
  /** Whether llamero asked the process to end. */
  readonly stopping: boolean;
  /** Whether the start was given up for lack of progress. */
  readonly startupTimedOut: boolean;
  /** Whether the kernel's OOM killer was at work while the process lived. */
  readonly oomKilled: boolean;
}

interface LogPattern {
  readonly name: ExitCauseName;
  readonly pattern: RegExp;
  readonly message: string;
  readonly final: boolean;
}

/**
 * What llama-server says before it gives up, most telling first. The texts are those of `common/arg.cpp`,
 * `ggml/src/gguf.cpp`, `src/llama-model-loader.cpp`, `src/llama-model.cpp`, `tools/server/server-http.cpp` and `ggml/src/ggml.c`.
 */
const LOG_PATTERNS: readonly LogPattern[] = [
  {
    name: 'port_taken',
    pattern: /couldn't bind HTTP server socket|EADDRINUSE|Address already in use/i,
    message: 'The port of the engine is taken by another program.',
    final: false,
  },
  {
    name: 'wrong_option',
    pattern:
      /^error: invalid argument|^error while handling argument|invalid argument: |^error: unknown argument|expected value for argument/im,
    message: 'llama-server does not accept one of its options; look at engine.args.',
    final: true,
  },
  {
    name: 'out_of_memory',
    pattern:
      /std::bad_alloc|out of memory|failed to allocate|unable to allocate|cudaMalloc failed|ErrorOutOfDeviceMemory|cannot allocate memory|failed to create context/i,
    message:
      'There was not enough memory for model and context; choose a smaller model, fewer slots or a shorter context.',
    final: false,
  },
  {
    name: 'model_missing',
    pattern:
      /failed to open GGUF file .*No such file|failed to open .*No such file or directory|No such file or directory.*gguf/i,
    message: 'The model file does not exist.',
    final: true,
  },
  {
    name: 'model_not_gguf',
    pattern: /invalid magic characters|failed to read magic|not a GGUF file/i,
    message: 'The model file is not a GGUF file.',
    final: true,
  },
  {
    name: 'model_unknown_architecture',
    pattern: /unknown model architecture/i,
    message: 'This llama-server does not know the architecture of the model; a newer one may.',
    final: true,
  },
  {
    name: 'assertion',
    pattern: /GGML_ASSERT|Assertion .* failed|terminate called after throwing/,
    message: 'An assertion inside llama-server failed.',
    final: false,
  },
  {
    name: 'model_invalid',
    pattern: /error loading model|failed to load model|exiting due to model loading error/i,
    message: 'The model file is damaged or incomplete.',
    final: true,
  },
];

const SIGNAL_CAUSES: Partial<Record<NodeJS.Signals, Omit<ExitCause, 'final'>>> = {
  SIGSEGV: { name: 'segmentation_fault', message: 'llama-server crashed with a segmentation fault.' },
  SIGBUS: { name: 'segmentation_fault', message: 'llama-server crashed with a bus error.' },
  SIGABRT: { name: 'assertion', message: 'llama-server aborted.' },
  // What a compiler makes of a check that failed, and a division by zero: nobody sends these from outside.
  SIGTRAP: { name: 'assertion', message: 'A check inside llama-server failed.' },
  SIGFPE: { name: 'assertion', message: 'llama-server crashed with an arithmetic error.' },
  SIGKILL: { name: 'killed', message: 'llama-server was killed by somebody.' },
};

const ILLEGAL_INSTRUCTION: ExitCause = {
  name: 'illegal_instruction',
  message: 'llama-server was built for another CPU; install one for this machine: llamero engine install --force.',
  final: true,
};

/** Names the end of a process. First the log, since it says most; then the signal; then the exit code. Pure. */
export function exitCauseOf(end: ProcessEnd): ExitCause {
  if (end.startupTimedOut) {
    return {
      name: 'startup_timeout',
      message: 'The engine made no progress while starting and was given up.',
      final: false,
    };
  }
  if (end.stopping) return { name: 'stopped', message: 'The engine was stopped.', final: false };
  // 0xC000001D is STATUS_ILLEGAL_INSTRUCTION of Windows, 132 what a shell makes of SIGILL.
  if (end.signal === 'SIGILL' || end.code === 0xc000001d || end.code === 132) return ILLEGAL_INSTRUCTION;
  if (end.oomKilled && (end.signal === 'SIGKILL' || end.code === 137)) {
    return {
      name: 'killed_by_system',
      message: 'The system killed llama-server because memory ran out.',
      final: false,
    };
  }
  const signalCause = end.signal === null ? undefined : SIGNAL_CAUSES[end.signal];
  // A kill from outside has nothing to do with what the log said before.
  if (signalCause !== undefined && end.signal !== 'SIGABRT') return { ...signalCause, final: false };
  const found = findInLog(end.log);
  if (found !== undefined) return { name: found.name, message: found.message, final: found.final };
  if (signalCause !== undefined) return { ...signalCause, final: false };
  if (end.signal !== null) {
    return { name: 'signal', message: `llama-server was ended by ${end.signal}.`, final: false };
  }
  // 0xC0000005 is STATUS_ACCESS_VIOLATION of Windows.
  if (end.code === 0xc0000005)
    return { name: 'segmentation_fault', message: 'llama-server crashed with an access violation.', final: false };
  if (end.code === 126 || end.code === 127) {
    return {
      name: 'not_executable',
      message: 'llama-server could not be executed; a shared library may be missing.',
      final: true,
    };
  }
  return { name: 'exit', message: `llama-server ended with exit code ${end.code ?? 'unknown'}.`, final: false };
}

/** The cause for a command that could not be spawned at all (`ENOENT`, `EACCES`, …). */
export function spawnFailureCause(error: NodeJS.ErrnoException): ExitCause {
  return {
    name: 'not_executable',
    message: `llama-server could not be started (${error.code ?? 'unknown error'}); check engine.command.`,
    final: true,
  };
}

function findInLog(log: readonly string[]): LogPattern | undefined {
  const text = log.join('\n');
  return LOG_PATTERNS.find((candidate) => candidate.pattern.test(text));
}
