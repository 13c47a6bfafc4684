import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

/** Where the figures come from; they mean nothing without it. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMb: number;
  readonly system: string;
  readonly node: string;
  /** Whether the processes are pinned to cores. */
  readonly pinned: boolean;
  /** Runnable processes in the last minute before the bench began: above 0.5 somebody else is at work here. */
  readonly loadBefore: number;
}

const GATEWAY_CORE = 1;
const LOAD_CORE = 0;
const canPin =
  process.platform === 'linux' &&
  availableParallelism() >= 2 &&
  spawnSync('taskset', ['-c', `${LOAD_CORE},${GATEWAY_CORE}`, 'true']).status === 0;

/** Describes this machine. */
export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1024 ** 2),
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    pinned: canPin,
    loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

/** The command line that runs `command` on its core: the gateway on one, everything else on another. */
export function pinCommand(core: 'gateway' | 'load', command: readonly [string, ...string[]]): [string, ...string[]] {
  if (!canPin) return [...command];
  return ['taskset', '-c', String(core === 'gateway' ? GATEWAY_CORE : LOAD_CORE), ...command];
}
