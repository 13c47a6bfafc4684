import type { GgufTensor } from './gguf-encoder.ts';
import { equaliseRows, seededNoise } from './seeded-noise.ts';
import type { TinyVocabulary, TokenStyle } from './tiny-vocabulary.ts';

/** Shape of the tiny model's network. */
export interface TinyShape {
  readonly layers: number;
  readonly embedding: number;
  readonly heads: number;
  /** Width of the feed-forward network that has weights. */
  readonly feedForward: number;
  /** Further feed-forward units whose weights are all zero: work without effect, see `ballastBytes`. */
  readonly ballast: number;
}

/** A run of float32 values to write at an element offset of a tensor; what no run covers stays zero. */
export interface WeightRun {
  readonly offset: number;
  readonly values: Float32Array<ArrayBuffer>;
}

/** A tensor and the values in it, generated piece by piece so that memory stays bounded. */
export interface WeightTensor extends GgufTensor {
  readonly runs: () => Iterable<WeightRun>;
}

/** Length of an attention head. */
export const TINY_HEAD_LENGTH = 32;

/*
 * The weights are noise, except for a few channels of the residual stream that are wired by hand. They make the output
 * readable, let it end only where a test wants an end, and let it call tools:
 *
 * - CONSTANT: the same value in every token's embedding. No layer writes to it, so it reaches the output and the weight
 *   there acts as a bias on each token's logit (LOGIT_BIAS). llama-architecture models have no bias of their own.
 * - TOOL_KEY, TOOL_MODE: attention head 0 of the first layer looks for the `<tools>` tag that the chat template writes
 *   when a request offers tools. Where it finds one, TOOL_MODE is set and `<tool_call>` becomes the next token. That tag
 *   draws the attention to itself and turns the mode negative: no second call, and `</tool_call>` comes within reach. A
 *   `<tool_response>` draws the attention even more and clears the mode: with an answer at hand the model writes text.
 * - OBJECT_ENDED: set by a `}`, puts `</tool_call>` first where tool mode brought it within reach.
 * - JSON_MODE: head 1 looks for a `{`. Where it finds one, quotes and closing brackets become likely, so that output forced into
 *   a JSON schema closes its strings and lists soon.
 * - CALL_ENDED: set by the token `</tool_call>`, makes the end of the turn the next token.
 */
const CONSTANT = 0;
const TOOL_KEY = 1;
const TOOL_MODE = 2;
const JSON_MODE = 3;
const CALL_ENDED = 4;
const OBJECT_ENDED = 5;
const WIRED_CHANNELS = 6;
/** Value of a wired channel that is set. */
const SET = 8;

/**
 * Biases in logits at an output norm of 1; the norm is about 2.5, which divides them, and the other logits spread by
 * about 2. So `never` (control tokens, control characters, parts of characters) is out of reach of greedy decoding
 * and of any usual temperature, unless a grammar leaves nothing else.
 */
const LOGIT_BIAS: Record<TokenStyle, number> = {
  word: 0,
  punctuation: -3,
  symbol: -7,
  quote: -14,
  bracket: -14,
  rare: -20,
  tag: -80,
  never: -80,
};
/** Further bias in JSON mode and in tool mode. */
const JSON_BIAS: Partial<Record<TokenStyle, number>> = { quote: 21, bracket: 13 };
const TOOL_BIAS: Partial<Record<TokenStyle, number>> = { tag: -52 };
const TOOL_CALL_BIAS = 160;
const CALL_CLOSING_BIAS = 40;
const END_OF_TURN_BIAS = 400;
/** The output norm shrinks the wired channels so that embedding vectors are not all alike; the output rows make up for it. */
const SHRINK = 0.02;
const LOGIT_SPREAD = 2;

/** All tensors of a llama-architecture model with seeded weights, in file order. */
export function tinyWeights(shape: TinyShape, vocabulary: TinyVocabulary, seed: number): WeightTensor[] {
  const blocks = Array.from({ length: shape.layers }, (_, layer) => layer);
  return [
    tokenEmbedding(shape, vocabulary, seed),
    norm('output_norm', shape.embedding, SHRINK),
    output(shape, vocabulary, seed),
    ...blocks.flatMap((layer) => attention(layer, shape, seed).concat(feedForward(layer, shape, seed))),
  ];
}

function tokenEmbedding({ embedding }: TinyShape, { tokens, ids }: TinyVocabulary, seed: number): WeightTensor {
  const name = 'token_embd.weight';
  const noise = { name, seed, rows: tokens.length, columns: embedding, scale: 1, mutedColumns: WIRED_CHANNELS };
  const set = (id: number, channel: number, value = SET): Cell => ({ row: id, column: channel, value });
  const cells = [
    ...tokens.map((_, id) => set(id, CONSTANT)),
    set(ids.tools, TOOL_KEY),
    set(ids.tools, TOOL_MODE),
    set(ids.toolCall, TOOL_KEY, 2 * SET),
    set(ids.toolCall, TOOL_MODE, -SET),
    set(ids.toolResponse, TOOL_KEY, 3 * SET),
    set(ids.openBrace, JSON_MODE),
    set(ids.toolCallEnd, CALL_ENDED),
    set(ids.closeBrace, OBJECT_ENDED),
  ];
  return { name, shape: [embedding, tokens.length], runs: () => wire(seededNoise(noise), embedding, cells) };
}

function output({ embedding }: TinyShape, { tokens, ids }: TinyVocabulary, seed: number): WeightTensor {
  const name = 'output.weight';
  const noise = { name, seed, rows: tokens.length, columns: embedding, scale: 1, mutedColumns: WIRED_CHANNELS };
  const cells = [
    ...tokens.flatMap(({ style }, id) => [
      bias(id, CONSTANT, LOGIT_BIAS[style]),
      bias(id, JSON_MODE, JSON_BIAS[style] ?? 0),
      bias(id, TOOL_MODE, TOOL_BIAS[style] ?? 0),
    ]),
    bias(ids.toolCall, TOOL_MODE, TOOL_CALL_BIAS),
    bias(ids.toolCallEnd, OBJECT_ENDED, CALL_CLOSING_BIAS),
    bias(ids.endOfTurn, CALL_ENDED, END_OF_TURN_BIAS),
  ];
  // Rows of equal length: no token is written more often only because its row happens to be long.
  const runs = (): Iterable<WeightRun> =>
    wire(equaliseRows(seededNoise(noise), embedding, LOGIT_SPREAD), embedding, cells);
  return { name, shape: [embedding, tokens.length], runs };
}

function bias(row: number, column: number, logits: number): Cell {
  return { row, column, value: logits / (SHRINK * SET) };
}

function attention(layer: number, { embedding }: TinyShape, seed: number): WeightTensor[] {
  const inner = 1 / Math.sqrt(embedding);
  const matrix = (name: string, scale: number, mute: object, cells: readonly Cell[]): WeightTensor => {
    const noise = { name, seed, rows: embedding, columns: embedding, scale, ...mute };
    const runs = (): Iterable<WeightRun> => wire(seededNoise(noise), embedding, layer === 0 ? cells : []);
    return { name, shape: [embedding, embedding], runs };
  };
  const reads = { mutedColumns: WIRED_CHANNELS };
  const writes = { mutedRows: WIRED_CHANNELS };
  const wiring = finderHeads(embedding);
  return [
    norm(`blk.${layer}.attn_norm`, embedding, 1),
    // Sharp attention: each position picks few others, which keeps the text from falling into a cycle.
    matrix(`blk.${layer}.attn_q.weight`, 3 * inner, reads, wiring.query),
    matrix(`blk.${layer}.attn_k.weight`, 3 * inner, reads, wiring.key),
    matrix(`blk.${layer}.attn_v.weight`, 2 * inner, reads, wiring.value),
    matrix(`blk.${layer}.attn_output.weight`, 2 * inner, writes, wiring.output),
  ];
}

function feedForward(layer: number, shape: TinyShape, seed: number): WeightTensor[] {
  const { embedding, feedForward: used, ballast } = shape;
  const into = (name: string): WeightTensor => {
    const noise = {
      name,
      seed,
      rows: used,
      columns: embedding,
      scale: 1.5 / Math.sqrt(embedding),
      mutedColumns: WIRED_CHANNELS,
    };
    return { name, shape: [embedding, used + ballast], runs: () => seededNoise(noise) };
  };
  const down = `blk.${layer}.ffn_down.weight`;
  const noise = {
    name: down,
    seed,
    rows: embedding,
    columns: used,
    rowStride: used + ballast,
    scale: 1.5 / Math.sqrt(used),
    mutedRows: WIRED_CHANNELS,
  };
  return [
    norm(`blk.${layer}.ffn_norm`, embedding, 1),
    into(`blk.${layer}.ffn_gate.weight`),
    into(`blk.${layer}.ffn_up.weight`),
    { name: down, shape: [used + ballast, embedding], runs: () => seededNoise(noise) },
  ];
}

function norm(name: string, length: number, wiredWeight: number): WeightTensor {
  const values = new Float32Array(length).fill(1).fill(wiredWeight, 0, WIRED_CHANNELS);
  return { name: `${name}.weight`, shape: [length], runs: () => [{ offset: 0, values }] };
}

/** One value of a matrix that is set by hand. */
interface Cell {
  readonly row: number;
  readonly column: number;
  readonly value: number;
}

/**
 * Wiring of two heads of the first layer that find a token anywhere in the context: the query is the constant, the key is
 * a channel that only the wanted token sets. Both use the slowest pair of rotary dimensions, whose rotation over the
 * context is negligible with the frequency base 1,000,000; the pair's other dimension and the value's other inputs are cleared.
 */
function finderHeads(embedding: number): Record<'query' | 'key' | 'value' | 'output', Cell[]> {
  const wiring = { query: [] as Cell[], key: [] as Cell[], value: [] as Cell[], output: [] as Cell[] };
  const finders = [
    { head: 0, key: TOOL_KEY, mode: TOOL_MODE },
    { head: 1, key: JSON_MODE, mode: JSON_MODE },
  ];
  for (const { head, key, mode } of finders) {
    const first = head * TINY_HEAD_LENGTH;
    const slowest = first + TINY_HEAD_LENGTH - 2;
    for (let other = 0; other < embedding; other += 1) {
      const clear = (row: number): Cell => ({ row, column: other, value: 0 });
      wiring.query.push(clear(slowest), clear(slowest + 1));
      wiring.key.push(clear(slowest), clear(slowest + 1));
      wiring.value.push(clear(first));
      wiring.output.push({ row: other, column: first, value: 0 });
    }
    wiring.query.push({ row: slowest, column: CONSTANT, value: 4 });
    wiring.key.push({ row: slowest, column: key, value: 6 });
    wiring.value.push({ row: first, column: mode, value: 1 });
    wiring.output.push({ row: mode, column: first, value: 2 });
  }
  return wiring;
}

/** Sets cells in runs of whole rows. */
function* wire(runs: Iterable<WeightRun>, columns: number, cells: readonly Cell[]): Generator<WeightRun> {
  for (const run of runs) {
    const end = run.offset + run.values.length;
    for (const { row, column, value } of cells) {
      const position = row * columns + column;
      if (position >= run.offset && position < end) run.values[position - run.offset] = value;
    }
    yield run;
  }
}
