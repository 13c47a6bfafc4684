/** A tensor type of ggml: how many elements share a block, and how many bytes a block takes. */
interface GgmlType {
  readonly name: string;
  readonly blockElements: number;
  readonly blockBytes: number;
}

const type = (name: string, blockElements: number, blockBytes: number): GgmlType => ({
  name,
  blockElements,
  blockBytes,
});

/** By the number that stands in the file. Source: `GGML_QUANT_SIZES` in llama.cpp, gguf-py/gguf/constants.py. */
const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map([
  [0, type('F32', 1, 4)],
  [1, type('F16', 1, 2)],
  [2, type('Q4_0', 32, 18)],
  [3, type('Q4_1', 32, 20)],
  [6, type('Q5_0', 32, 22)],
  [7, type('Q5_1', 32, 24)],
  [8, type('Q8_0', 32, 34)],
  [9, type('Q8_1', 32, 36)],
  [10, type('Q2_K', 256, 84)],
  [11, type('Q3_K', 256, 110)],
  [12, type('Q4_K', 256, 144)],
  [13, type('Q5_K', 256, 176)],
  [14, type('Q6_K', 256, 210)],
  [15, type('Q8_K', 256, 292)],
  [16, type('IQ2_XXS', 256, 66)],
  [17, type('IQ2_XS', 256, 74)],
  [18, type('IQ3_XXS', 256, 98)],
  [19, type('IQ1_S', 256, 50)],
  [20, type('IQ4_NL', 32, 18)],
  [21, type('IQ3_S', 256, 110)],
  [22, type('IQ2_S', 256, 82)],
  [23, type('IQ4_XS', 256, 136)],
  [24, type('I8', 1, 1)],
  [25, type('I16', 1, 2)],
  [26, type('I32', 1, 4)],
  [27, type('I64', 1, 8)],
  [28, type('F64', 1, 8)],
  [29, type('IQ1_M', 256, 56)],
  [30, type('BF16', 1, 2)],
  [34, type('TQ1_0', 256, 54)],
  [35, type('TQ2_0', 256, 66)],
  [39, type('MXFP4', 32, 17)],
  [40, type('NVFP4', 64, 36)],
  [41, type('Q1_0', 128, 18)],
  [42, type('Q2_0', 64, 18)],
]);

/** Types that llama-server takes for the KV cache (`--cache-type-k`, `--cache-type-v`). */
export const CACHE_TYPES = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'iq4_nl', 'q5_0', 'q5_1'] as const;

/** One of {@link CACHE_TYPES}. */
export type CacheType = (typeof CACHE_TYPES)[number];

/** Bytes that `elements` of the tensor type `number` take; null for a type that is not known here. */
export function tensorBytes(number: number, elements: number): number | null {
  const found = GGML_TYPES.get(number);
  return found === undefined ? null : Math.ceil(elements / found.blockElements) * found.blockBytes;
}

/** The name of a tensor type, such as `Q4_K`; `type 99` for one that is not known here. */
export function tensorTypeName(number: number): string {
  return GGML_TYPES.get(number)?.name ?? `type ${number}`;
}

/** Bytes per element of a KV cache of that type; fractions where a block shares its scale. */
export function cacheElementBytes(cacheType: CacheType): number {
  const found = [...GGML_TYPES.values()].find((candidate) => candidate.name.toLowerCase() === cacheType);
  if (found === undefined) throw new Error(`no such cache type: ${cacheType}`);
  return found.blockBytes / found.blockElements;
}
