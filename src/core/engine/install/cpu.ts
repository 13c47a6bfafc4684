import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { createHash } from 'node:crypto';

/**
 * The processor that a source build was made for. A build with `GGML_NATIVE` uses every instruction set of the machine
 * it is built on and dies of SIGILL on a machine that lacks one, so an installation in a shared or copied cache has to say.
 */
export interface Cpu {
  arch: string;
  model: string;
  /** Instruction sets (Linux names), sorted; empty where the system does not list them. */
  instructionSets: string[];
}

/**
 * The flags of /proc/cpuinfo that compilers make use of. The others say things about kernel and hypervisor and change
 * with them, although the same programs run.
 */
const INSTRUCTION_SET =
  /^(sse|ssse|pni|avx|fma|f16c|bmi|amx|aes|vaes|pclmul|vpclmul|gfni|sha|adx|abm|lzcnt|popcnt|movbe|rdrnd|rdseed|xsave|clflushopt|clwb|cx16|sve|sme|asimd|fp(hp)?$|i8mm|bf16|atomics|crc32|lrcpc|dcpop|vx|rv)/;

/** This machine's processor. */
export async function currentCpu(): Promise<Cpu> {
  const model = cpus()[0]?.model.trim() ?? '';
  let cpuinfo = '';
  try {
    if (process.platform === 'linux') cpuinfo = await readFile('/proc/cpuinfo', 'utf8');
  } catch {
    // No /proc in this container: the model name alone decides, as on macOS and Windows.
  }
  return { arch: process.arch, model, instructionSets: parseInstructionSets(cpuinfo) };
}

/** The instruction sets in a /proc/cpuinfo text (`flags` on x86, `Features` on Arm), sorted. */
export function parseInstructionSets(cpuinfo: string): string[] {
  const flags = /^(?:flags|Features|features|isa)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  return [...new Set(flags.split(/\s+/))].filter((flag) => INSTRUCTION_SET.test(flag)).sort();
}

/** Whether a program built natively for one processor runs on another: all its instruction sets are there, or it is the same model. */
export function runsOn(builtFor: Cpu, cpu: Cpu): boolean {
  if (builtFor.arch !== cpu.arch) return false;
  if (builtFor.instructionSets.length === 0 || cpu.instructionSets.length === 0) return builtFor.model === cpu.model;
  const has = new Set(cpu.instructionSets);
  return builtFor.instructionSets.every((flag) => has.has(flag));
}

/** A short name of a processor for directory names: equal exactly for processors that can share a build. */
export function cpuKey(cpu: Cpu): string {
  const identity = cpu.instructionSets.length > 0 ? cpu.instructionSets.join(' ') : cpu.model;
  return createHash('sha256').update(`${cpu.arch} ${identity}`).digest('hex').slice(0, 8);
}
