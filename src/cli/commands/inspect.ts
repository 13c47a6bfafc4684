import { Command, InvalidArgumentError } from 'commander';
import { formatBytes } from '../../core/engine/download/byte-size.ts';
import { estimateMemory } from '../../core/engine/model/estimate-memory.ts';
import type { MemoryEstimate } from '../../core/engine/model/estimate-memory.ts';
import { CACHE_TYPES } from '../../core/engine/model/ggml-types.ts';
import type { CacheType } from '../../core/engine/model/ggml-types.ts';
import type { GgufFacts } from '../../core/engine/model/gguf-facts.ts';
import { inspectModel } from '../../core/engine/model/inspect-model.ts';
import type { InspectedModel } from '../../core/engine/model/inspect-model.ts';
import { memoryFit, readMachineMemory } from '../../core/engine/model/machine-memory.ts';
import type { MachineMemory } from '../../core/engine/model/machine-memory.ts';
import { describeFit, formatCount } from '../model-words.ts';
import { withProgress } from '../with-progress.ts';

interface InspectOptions {
  parallel: number;
  ctxSize: number;
  cacheType: CacheType;
  json?: boolean;
}

/** What `llamero inspect` found out, and what `--json` prints. */
export interface Inspection {
  readonly model: InspectedModel;
  readonly slots: { readonly parallel: number; readonly ctxSize: number; readonly cacheType: CacheType };
  readonly memory: MemoryEstimate;
  readonly machine: MachineMemory;
  readonly fit: ReturnType<typeof memoryFit>;
}

/** `llamero inspect MODEL`: what the GGUF holds, and what it will need on this machine. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('what a GGUF file holds, and what it needs')
    .argument('<model>', 'GGUF file, https address or Hugging Face name user/repo[:quant]; nothing is downloaded')
    .option('--parallel <n>', 'slots', positiveInteger, 4)
    .option('--ctx-size <n>', 'context length of one slot, in tokens', positiveInteger, 4096)
    .option('--cache-type <type>', `type of the KV cache: ${CACHE_TYPES.join(', ')}`, readCacheType, 'f16')
    .option('--json', 'print everything as JSON')
    .action(async (reference: string, options: InspectOptions) => {
      await withProgress(async (signal, onProgress) => {
        const model = await inspectModel({ reference, env: process.env, signal, onProgress });
        const inspection = inspect(model, options, readMachineMemory());
        const text = options.json === true ? JSON.stringify(inspection, null, 2) : describeInspection(inspection);
        process.stdout.write(`${text}\n`);
      });
    })
    .addHelpText(
      'after',
      `
Examples:
  llamero inspect ./model.gguf
  llamero inspect user/repo:Q4_K_M --parallel 8 --ctx-size 8192
  llamero inspect ./model.gguf --json`,
    );
}

/** Puts facts, need and machine together. Pure. */
export function inspect(
  model: InspectedModel,
  { parallel, ctxSize, cacheType }: Inspection['slots'],
  machine: MachineMemory,
): Inspection {
  const memory = estimateMemory(model.facts, { parallel, ctxSize, cacheType });
  return {
    model,
    slots: { parallel, ctxSize, cacheType },
    memory,
    machine,
    fit: memoryFit(memory.totalBytes, machine),
  };
}

/** The inspection as a table for people. Pure. */
export function describeInspection(inspection: Inspection): string {
  const { model, slots, memory, machine, fit } = inspection;
  const limit = machine.limitBytes === null ? '' : ` (container limit ${formatBytes(machine.limitBytes)})`;
  return [
    model.facts.name ?? model.location,
    table([...locationRows(model), ...factRows(model.facts)]),
    '',
    `Memory for ${slots.parallel} slots of ${slots.ctxSize} tokens, KV cache in ${slots.cacheType}`,
    table([
      ['weights', bytes(memory.weightsBytes)],
      ['KV cache per slot', bytes(memory.kvCachePerSlotBytes)],
      ['KV cache', bytes(memory.kvCacheBytes)],
      ['buffers, roughly', bytes(memory.computeBytes)],
      ['together', bytes(memory.totalBytes)],
      ['this machine', `${formatBytes(machine.totalBytes)}, ${formatBytes(machine.availableBytes)} available${limit}`],
      ['fit', describeFit(fit)],
    ]),
  ].join('\n');
}

type Row = readonly [string, string];

function locationRows(model: InspectedModel): Row[] {
  const { facts } = model;
  const parts = facts.parts === 1 ? '' : ` in ${facts.parts} parts`;
  return [
    [model.local ? 'file' : 'address', model.location],
    ['size', `${formatBytes(facts.fileBytes)}${parts}`],
    ...(model.chosen === undefined ? [] : [['chosen', model.chosen] as const]),
  ];
}

function factRows(facts: GgufFacts): Row[] {
  const kvHeads = facts.kvHeads === null || facts.kvHeads.length === 0 ? null : Math.max(...facts.kvHeads);
  return [
    ['architecture', facts.architecture],
    ['parameters', formatCount(facts.parameters)],
    ['quantisation', facts.quantisation],
    ['layers', count(facts.layers)],
    ['attention heads', `${count(facts.heads)}, ${count(kvHeads)} for keys and values`],
    ['embedding', count(facts.embeddingLength)],
    ['context length', count(facts.contextLength, ' tokens')],
    ['vocabulary', count(facts.vocabulary, ' tokens')],
    ['chat template', facts.chatTemplate ? 'yes' : 'no'],
    ['tensors', String(facts.tensors)],
  ];
}

function bytes(value: number | null): string {
  return value === null ? 'unknown: the file does not tell enough' : formatBytes(value);
}

function count(value: number | null, unit = ''): string {
  return value === null ? 'unknown' : `${value}${unit}`;
}

function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.map(([name, value]) => `  ${name.padEnd(width)}${value}`).join('\n');
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Expected a whole number above 0.');
  return value;
}

function readCacheType(text: string): CacheType {
  const found = CACHE_TYPES.find((type) => type === text);
  if (found === undefined) throw new InvalidArgumentError(`Expected one of ${CACHE_TYPES.join(', ')}.`);
  return found;
}
