import type { GgufTensor } from './gguf-encoder.ts';
import type { TinyToken, TokenStyle } from './tiny-vocabulary.ts';

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

/**
 * How the output is kept readable. Channel 0 of every token embedding holds the constant {@link CONSTANT}, and no layer
 * writes to that channel, so that it reaches the output norm unchanged and the first weight of each output row acts as a
 * bias on that token's logit. The biases below are in logits, next to a spread of the other logits of about 2: `never`
 * (control tokens, control characters, parts of characters) is out of reach of greedy decoding and of any usual
 * temperature, unless a grammar leaves nothing else. `structure` (`"`, `}`, `]`) is raised so that output forced
 * into a JSON schema closes its strings, lists and objects soon. Layer norms hide the channel from attention and
 * feed-forward, which would otherwise add the same vector at every position and make the text monotonous.
 */
const LOGIT_BIAS: Record<TokenStyle, number> = { word: 0, punctuation: -3, structure: -1, rare: -20, never: -80 };
const CONSTANT = 8;
/** The final norm shrinks channel 0 so that embedding vectors are not all alike; the output rows make up for it. */
const CONSTANT_SHRINK = 0.02;
const LOGIT_SPREAD = 2;
const RUN_LENGTH = 65_536;

/** All tensors of a llama-architecture model with seeded weights, in file order. */
export function tinyWeights(shape: TinyShape, tokens: readonly TinyToken[], seed: number): WeightTensor[] {
  const { embedding, feedForward, ballast } = shape;
  const inner = 1 / Math.sqrt(embedding);
  const width = feedForward + ballast;
  const matrix = (name: string, columns: number, rows: number, scale: number, keepConstant = false): WeightTensor => ({
    name: `${name}.weight`,
    shape: [columns, rows],
    runs: () => noiseRows({ seed: hash(name, seed), rows, columns, used: columns, scale, skipFirstRow: keepConstant }),
  });

  const layers = Array.from({ length: shape.layers }, (_, layer) => `blk.${layer}`).flatMap((block) => [
    norm(`${block}.attn_norm`, embedding, 0),
    matrix(`${block}.attn_q`, embedding, embedding, 3 * inner),
    matrix(`${block}.attn_k`, embedding, embedding, 3 * inner),
    matrix(`${block}.attn_v`, embedding, embedding, 2 * inner),
    matrix(`${block}.attn_output`, embedding, embedding, 2 * inner, true),
    norm(`${block}.ffn_norm`, embedding, 0),
    feedForwardIn(`${block}.ffn_gate`, shape, seed),
    feedForwardIn(`${block}.ffn_up`, shape, seed),
    {
      name: `${block}.ffn_down.weight`,
      shape: [width, embedding],
      runs: () =>
        noiseRows({
          seed: hash(`${block}.ffn_down`, seed),
          rows: embedding,
          columns: width,
          used: feedForward,
          scale: 1.5 / Math.sqrt(feedForward),
          skipFirstRow: true,
        }),
    },
  ]);
  return [
    {
      name: 'token_embd.weight',
      shape: [embedding, tokens.length],
      runs: () => embeddingRows(shape, tokens.length, seed),
    },
    norm('output_norm', embedding, CONSTANT_SHRINK),
    { name: 'output.weight', shape: [embedding, tokens.length], runs: () => outputRows(shape, tokens, seed) },
    ...layers,
  ];
}

function feedForwardIn(name: string, shape: TinyShape, seed: number): WeightTensor {
  const { embedding, feedForward, ballast } = shape;
  return {
    name: `${name}.weight`,
    shape: [embedding, feedForward + ballast],
    runs: () =>
      noiseRows({
        seed: hash(name, seed),
        rows: feedForward,
        columns: embedding,
        used: embedding,
        scale: 1.5 / Math.sqrt(embedding),
        skipFirstRow: false,
      }),
  };
}

/** A norm with weight `constantWeight` on the constant channel and 1 elsewhere. */
function norm(name: string, length: number, constantWeight: number): WeightTensor {
  const values = new Float32Array(length).fill(1);
  values[0] = constantWeight;
  return { name: `${name}.weight`, shape: [length], runs: () => [{ offset: 0, values }] };
}

function* embeddingRows(shape: TinyShape, rows: number, seed: number): Generator<WeightRun> {
  const { embedding } = shape;
  for (const run of noiseRows({
    seed: hash('token_embd', seed),
    rows,
    columns: embedding,
    used: embedding,
    scale: 1,
    skipFirstRow: false,
  })) {
    for (let index = 0; index < run.values.length; index += embedding) run.values[index] = CONSTANT;
    yield run;
  }
}

function* outputRows(shape: TinyShape, tokens: readonly TinyToken[], seed: number): Generator<WeightRun> {
  const { embedding } = shape;
  for (const run of noiseRows({
    seed: hash('output', seed),
    rows: tokens.length,
    columns: embedding,
    used: embedding,
    scale: 1,
    skipFirstRow: false,
  })) {
    for (let index = 0; index < run.values.length; index += embedding) {
      const token = tokens[(run.offset + index) / embedding]!;
      equaliseRow(run.values.subarray(index, index + embedding), LOGIT_SPREAD);
      run.values[index] = LOGIT_BIAS[token.style] / (CONSTANT_SHRINK * CONSTANT);
    }
    yield run;
  }
}

/** Scales a row to the given length, so that no token is written more often only because its row happens to be long. */
function equaliseRow(row: Float32Array, length: number): void {
  const factor = length / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
  for (let index = 0; index < row.length; index += 1) row[index] = row[index]! * factor;
}

interface NoiseRows {
  readonly seed: number;
  readonly rows: number;
  /** Length of a row in the tensor. */
  readonly columns: number;
  /** Leading part of each row that gets noise; the rest stays zero. */
  readonly used: number;
  /** Standard deviation. */
  readonly scale: number;
  /** Leaves row 0 zero, so that the constant channel stays constant. */
  readonly skipFirstRow: boolean;
}

function* noiseRows({ seed, rows, columns, used, scale, skipFirstRow }: NoiseRows): Generator<WeightRun> {
  const next = noise(seed);
  const rowsPerRun = used === columns ? Math.max(1, Math.floor(RUN_LENGTH / columns)) : 1;
  for (let row = 0; row < rows; row += rowsPerRun) {
    const count = Math.min(rowsPerRun, rows - row);
    const values = new Float32Array(count * used);
    for (let index = 0; index < values.length; index += 1) values[index] = next() * scale;
    if (row === 0 && skipFirstRow) values.fill(0, 0, used);
    yield { offset: row * columns, values };
  }
}

/**
 * Seeded noise of mean 0 and standard deviation 1: mulberry32, four draws summed (Irwin-Hall). Only additions and
 * multiplications, so that every platform writes the same bytes.
 */
function noise(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
}

/** FNV-1a over a tensor's name and the seed, so that each tensor has noise of its own. */
function hash(name: string, seed: number): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(`${seed}/${name}`)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
