/** A matrix of seeded noise, in file order. */
export interface NoiseMatrix {
  /** Name of the tensor; with the seed it selects the noise. */
  readonly name: string;
  readonly seed: number;
  readonly rows: number;
  readonly columns: number;
  /** Distance between the starts of two rows, if there is something else behind each row. Default `columns`. */
  readonly rowStride?: number;
  /** Standard deviation. */
  readonly scale: number;
  /** So many leading rows, and so many leading columns of each row, are zero. */
  readonly mutedRows?: number;
  readonly mutedColumns?: number;
}

/** Consecutive elements of a matrix. */
export interface NoiseRun {
  readonly offset: number;
  readonly values: Float32Array<ArrayBuffer>;
}

/** Values per run: bounds the memory at any size of the matrix. */
const RUN_LENGTH = 65_536;

/** The matrix in runs of whole rows. */
export function* seededNoise(matrix: NoiseMatrix): Generator<NoiseRun> {
  const { rows, columns, rowStride = columns, scale, mutedRows = 0, mutedColumns = 0 } = matrix;
  const next = noise(hash(`${matrix.seed}/${matrix.name}`));
  const rowsPerRun = rowStride === columns ? Math.max(1, Math.floor(RUN_LENGTH / columns)) : 1;
  for (let row = 0; row < rows; row += rowsPerRun) {
    const values = new Float32Array(Math.min(rowsPerRun, rows - row) * columns);
    for (let index = 0; index < values.length; index += 1) {
      const muted = row + Math.floor(index / columns) < mutedRows || index % columns < mutedColumns;
      const value = next() * scale;
      values[index] = muted ? 0 : value;
    }
    yield { offset: row * rowStride, values };
  }
}

/** Scales every row of the runs to the same Euclidean length. */
export function* equaliseRows(runs: Iterable<NoiseRun>, columns: number, length: number): Generator<NoiseRun> {
  for (const run of runs) {
    for (let start = 0; start < run.values.length; start += columns) {
      const row = run.values.subarray(start, start + columns);
      const factor = length / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
      for (let index = 0; index < row.length; index += 1) row[index] = row[index]! * factor;
    }
    yield run;
  }
}

/**
 * Noise of mean 0 and standard deviation 1: mulberry32, four draws summed (Irwin-Hall). Additions and multiplications
 * only, so that every platform makes the same bytes.
 */
function noise(seed: number): () => number {
  let state = seed;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
