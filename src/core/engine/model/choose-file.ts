import { LlameroError } from '../../errors.ts';
import { parseSplitName, partsOf } from './split-file.ts';

/** One model of a repository: a file, or all parts of a split one. */
export interface RepositoryModel {
  /** Paths in the repository, the first part first. */
  readonly files: readonly string[];
  /** As the file's name says it, upper case, such as `Q4_K_M` or `UD-Q4_K_XL`; null when it says nothing. */
  readonly quantisation: string | null;
}

/**
 * What is taken when the user leaves the choice, the best balance of quality and memory first: 4 bits with K-quants,
 * then with 5, then other formats of 4 to 5 bits, then upwards to 8, then downwards, then unquantised.
 */
const PREFERENCE: readonly string[] = `
  Q4_K_M UD-Q4_K_XL Q4_K_XL Q4_K_L Q4_K_S Q4_K
  Q5_K_M UD-Q5_K_XL Q5_K_XL Q5_K_L Q5_K_S Q5_K
  IQ4_NL IQ4_XS MXFP4 MXFP4_MOE NVFP4 Q4_1 Q4_0 Q5_1 Q5_0
  Q6_K UD-Q6_K_XL Q6_K_XL Q6_K_L Q8_0 UD-Q8_K_XL Q8_K_XL
  Q3_K_L UD-Q3_K_XL Q3_K_XL Q3_K_M IQ3_M IQ3_S Q3_K_S IQ3_XS IQ3_XXS UD-IQ3_XXS
  BF16 F16 FP16 F32 FP32
  UD-Q2_K_XL Q2_K_XL Q2_K_L Q2_K IQ2_M UD-IQ2_M Q2_K_S IQ2_S IQ2_XS IQ2_XXS UD-IQ2_XXS
  TQ2_0 TQ1_0 UD-TQ1_0 IQ1_M UD-IQ1_M IQ1_S UD-IQ1_S
`
  .trim()
  .split(/\s+/);

const QUANTISATION =
  /(?:^|[-_.])((?:UD-)?(?:I?Q[1-8]_(?:K(?:_(?:XL|XS|S|M|L))?|NL|XXS|XS|S|M|[01])|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32))(?=[-_.]|$)/gi;
/** Files that accompany a model: projectors, importance matrices, draft heads, adapters. As in llama.cpp, common/download.cpp. */
const COMPANION = /mmproj|imatrix|(?:^|[-_.])(?:mtp|eagle3|dflash|dspark|lora|adapter|vocab)[-_.]/i;

/** The quantisation that a file's name tells, upper case; null for none. The last one counts. */
export function quantisationOfName(path: string): string | null {
  const base = path.split('/').at(-1) ?? path;
  const stem = (parseSplitName(base)?.prefix ?? base.replace(/\.gguf$/i, '')) + '.';
  const all = [...stem.matchAll(QUANTISATION)].map((match) => match[1]!.toUpperCase());
  return all.at(-1) ?? null;
}

/** The models among the files of a repository: GGUFs without companions, parts gathered, incomplete splits left out. */
export function modelsAmong(paths: readonly string[]): RepositoryModel[] {
  const present = new Set(paths);
  return paths
    .filter((path) => /\.gguf$/i.test(path) && !COMPANION.test(path.split('/').at(-1) ?? path))
    .filter((path) => (parseSplitName(path)?.part ?? 1) === 1)
    .map((path) => ({ files: partsOf(path), quantisation: quantisationOfName(path) }))
    .filter((model) => model.files.every((file) => present.has(file)));
}

/** What the user asked for. */
export interface FileWish {
  readonly quantization: string | null;
  readonly file?: string;
}

/**
 * The model of a repository that fits the wish best; null when none does. Without a wish the preferred quantisation is
 * taken, and among equals the shortest and then the first name, so that the choice is always the same. Pure.
 */
export function chooseModel(paths: readonly string[], wish: FileWish): RepositoryModel | null {
  if (wish.file !== undefined) {
    const files = partsOf(wish.file);
    const present = new Set(paths);
    return files.every((file) => present.has(file)) ? { files, quantisation: quantisationOfName(wish.file) } : null;
  }
  const models = modelsAmong(paths).sort(byName);
  const wanted = wish.quantization?.toUpperCase() ?? null;
  if (wanted !== null) {
    return (
      models.find((model) => model.quantisation === wanted) ??
      // Names of quantisations that are not known here: by the name's ending, or by the folder.
      models.find((model) => endsWith(model.files[0]!, wanted)) ??
      models.find((model) => model.files[0]!.toUpperCase().split('/').slice(0, -1).includes(wanted)) ??
      null
    );
  }
  return models.sort((a, b) => rank(a) - rank(b))[0] ?? null;
}

/** The error when nothing fits; it lists what there is. */
export function nothingFits(repository: string, paths: readonly string[], wish: FileWish): LlameroError {
  const models = modelsAmong(paths);
  const asked = wish.file ?? wish.quantization;
  const all = models.map((model) => model.quantisation ?? model.files[0]!);
  const there = [...new Set(all)].slice(0, 40).join(', ');
  const message =
    models.length === 0
      ? `The repository "${repository}" holds no GGUF model: look for one whose name ends in "-GGUF".`
      : `The repository "${repository}" has no "${asked}". It has: ${there}.`;
  return new LlameroError('model_not_found', message, { param: 'model' });
}

function rank(model: RepositoryModel): number {
  const index = PREFERENCE.indexOf(model.quantisation ?? '');
  return index === -1 ? PREFERENCE.length : index;
}

function byName(a: RepositoryModel, b: RepositoryModel): number {
  const [left, right] = [a.files[0]!, b.files[0]!];
  return left.length - right.length || (left < right ? -1 : 1);
}

function endsWith(path: string, wanted: string): boolean {
  const base = path.split('/').at(-1) ?? path;
  const stem = (parseSplitName(base)?.prefix ?? base.replace(/\.gguf$/i, '')).toUpperCase();
  return stem === wanted || new RegExp(`[-_.]${wanted.replaceAll('.', '\\.')}$`).test(stem);
}
