/** What the name of one part of a split GGUF says. */
export interface SplitName {
  /** The name up to the part number, folder included. */
  readonly prefix: string;
  /** Counted from 1. */
  readonly part: number;
  readonly parts: number;
}

const SPLIT_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/**
 * Reads names such as `model-00001-of-00003.gguf`; null for a name of another shape, or with an impossible number.
 * Source: `llama_split_path` in llama.cpp.
 */
export function parseSplitName(name: string): SplitName | null {
  const match = SPLIT_NAME.exec(name);
  if (match === null) return null;
  const part = Number(match[2]);
  const parts = Number(match[3]);
  return part < 1 || parts < 1 || part > parts ? null : { prefix: match[1] ?? '', part, parts };
}

/** The names of all parts of the model that `name` belongs to, the first part first; `[name]` when it is not split. */
export function partsOf(name: string): string[] {
  const split = parseSplitName(name);
  if (split === null) return [name];
  const extension = name.slice(-'.gguf'.length);
  const total = String(split.parts).padStart(5, '0');
  return Array.from(
    { length: split.parts },
    (_, index) => `${split.prefix}-${String(index + 1).padStart(5, '0')}-of-${total}${extension}`,
  );
}

/** A name for people: the file's name without folder, part number and `.gguf`. */
export function modelNameOf(path: string): string {
  const base = path.replaceAll('\\', '/').split('/').at(-1) ?? path;
  const name = parseSplitName(base)?.prefix ?? base.replace(/\.gguf$/i, '');
  return name === '' ? base : name;
}
