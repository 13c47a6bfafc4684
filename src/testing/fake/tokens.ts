/**
 * Tokens of the double. What it generates counts upwards, so that a reader sees at once if something was lost, doubled or
 * swapped: token k has the id k and the text ` k`, each fourth ` 🦙k`. Everything else is packed three bytes to a
 * token, so that any text comes back from its tokens as it was.
 */
export interface TokenSource {
  /** Text of the k-th generated token, k from 1. */
  text(index: number): string;
  /** Token ids of a text. */
  tokenize(text: string): number[];
  /** Text of token ids; bytes that are not valid UTF-8 become U+FFFD. */
  detokenize(ids: readonly number[]): string;
  /** Which generated token follows a prompt: 1, or the one after the generated token that the prompt ends with. */
  next(prompt: readonly number[]): number;
}

/** Ids of packed bytes begin here; below are generated tokens. */
const PACKED = 1_000_000;
const BYTES_PER_TOKEN = 3;

/** The counting source, or one that repeats the given texts. */
export function tokenSource(texts: readonly string[] | null): TokenSource {
  const text = (index: number): string =>
    texts === null ? (index % 4 === 0 ? ` 🦙${index}` : ` ${index}`) : texts[(index - 1) % texts.length]!;
  const find = texts === null ? findCounted : findListed(texts);

  const tokenize = (input: string): number[] => {
    const ids: number[] = [];
    let plain = '';
    for (let position = 0; position < input.length;) {
      const found = find(input, position);
      if (found === null) {
        plain += input[position];
        position += 1;
      } else {
        ids.push(...pack(plain), found.id);
        plain = '';
        position += found.length;
      }
    }
    return [...ids, ...pack(plain)];
  };
  const bytesOf = (id: number): Buffer => (id >= PACKED ? unpack(id) : Buffer.from(id > 0 ? text(id) : ''));
  return {
    text,
    tokenize,
    detokenize: (ids) => Buffer.concat(ids.map(bytesOf)).toString('utf8'),
    next: (prompt) => {
      const last = prompt.at(-1) ?? 0;
      return last > 0 && last < PACKED ? last + 1 : 1;
    },
  };
}

interface Found {
  readonly id: number;
  readonly length: number;
}

const COUNTED = / (🦙)?([1-9]\d{0,5})(?!\d)/uy;

function findCounted(input: string, position: number): Found | null {
  COUNTED.lastIndex = position;
  const match = COUNTED.exec(input);
  if (match === null) return null;
  const id = Number(match[2]);
  return (id % 4 === 0) === (match[1] !== undefined) ? { id, length: match[0].length } : null;
}

function findListed(texts: readonly string[]): (input: string, position: number) => Found | null {
  const longestFirst = texts
    .map((text, index) => ({ text, id: index + 1 }))
    .toSorted((a, b) => b.text.length - a.text.length);
  return (input, position) => {
    const found = longestFirst.find(({ text }) => text !== '' && input.startsWith(text, position));
    return found === undefined ? null : { id: found.id, length: found.text.length };
  };
}

function pack(text: string): number[] {
  const bytes = Buffer.from(text, 'utf8');
  const ids: number[] = [];
  for (let start = 0; start < bytes.length; start += BYTES_PER_TOKEN) {
    // Each byte as a digit 1 to 256, so that the number of bytes can be told from the value.
    const digits = [...bytes.subarray(start, start + BYTES_PER_TOKEN)];
    ids.push(PACKED + digits.reduce((value, byte) => value * 257 + byte + 1, 0));
  }
  return ids;
}

function unpack(id: number): Buffer {
  const bytes: number[] = [];
  for (let value = id - PACKED; value > 0; value = Math.floor(value / 257)) bytes.unshift((value % 257) - 1);
  return Buffer.from(bytes.filter((byte) => byte >= 0));
}
