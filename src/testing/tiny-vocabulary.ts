/**
 * The vocabulary of the tiny model: byte-level BPE (the `gpt2` tokenizer of llama.cpp), so that every text can be
 * tokenised and comes back as the same bytes, with syllables and a few multi-byte characters on top, so that what the
 * model writes can be read.
 */

/** How likely the model is to write a token; the weights turn it into a bias of the token's logit. */
export type TokenStyle = 'word' | 'punctuation' | 'symbol' | 'quote' | 'bracket' | 'rare' | 'tag' | 'never';

/** One token of the vocabulary. */
export interface TinyToken {
  /** The token in the byte-to-character encoding of GPT-2, or the literal text of a control token or tag. */
  readonly text: string;
  /** `control` and `tag` tokens are found in a text before BPE; only tags are printed. */
  readonly kind: 'normal' | 'control' | 'tag';
  readonly style: TokenStyle;
}

/** The vocabulary as GGUF wants it: tokens by id, and the BPE merges in order of rank. */
export interface TinyVocabulary {
  readonly tokens: readonly TinyToken[];
  readonly merges: readonly string[];
  readonly ids: TinyTokenIds;
}

/** Token ids that the weights and the metadata refer to. */
export interface TinyTokenIds {
  readonly bos: number;
  readonly startOfTurn: number;
  readonly endOfTurn: number;
  readonly padding: number;
  readonly infillPrefix: number;
  readonly infillSuffix: number;
  readonly infillMiddle: number;
  readonly tools: number;
  readonly toolCall: number;
  readonly toolCallEnd: number;
  readonly toolResponse: number;
  readonly openBrace: number;
  readonly closeBrace: number;
}

/** Fewest tokens a vocabulary can have: bytes, syllables, multi-byte characters and control tokens. */
export const SMALLEST_VOCABULARY = 448;

const CONTROL_TOKENS = [
  '<|begin|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|pad|>',
  '<|fim_prefix|>',
  '<|fim_suffix|>',
  '<|fim_middle|>',
] as const;
const TAGS = ['<tools>', '<tool_call>', '</tool_call>', '<tool_response>'] as const;
const CONSONANTS = 'bdfghjklmnprstvwz'.split('');
const VOWELS = 'aeiou'.split('');
const MULTI_BYTE_CHARACTERS = ['ü', 'ñ', '你', 'क', '🦙', '🙂'];
const PUNCTUATION = new Set([0x0a, ...Buffer.from(',.;:!?-')]);

/**
 * Builds a vocabulary of exactly `size` tokens. The first 437 are always the same; larger ones get words of several
 * syllables. With the smallest one nearly every token sequence the model writes is the canonical tokenisation of its
 * text; with larger ones (two syllables or one word?) it often is not, as with real models.
 */
export function buildTinyVocabulary(size: number): TinyVocabulary {
  const builder = new VocabularyBuilder();
  for (let byte = 0; byte < 256; byte += 1) builder.addByte(byte);
  const syllables = CONSONANTS.flatMap((consonant) => VOWELS.map((vowel) => [consonant, vowel] as const));
  for (const [consonant, vowel] of syllables) builder.addMerge(consonant, vowel, 'word');
  for (const [consonant, vowel] of syllables) builder.addMerge(SPACE, consonant + vowel, 'word');
  for (const character of MULTI_BYTE_CHARACTERS) builder.addCharacter(character);

  const room = size - CONTROL_TOKENS.length - TAGS.length;
  for (const [left, right] of words(syllables.map((pair) => pair.join('')))) {
    if (builder.tokens.length >= room) break;
    builder.addMerge(left, right, 'word');
  }
  const first = builder.tokens.length;
  for (const text of CONTROL_TOKENS) builder.tokens.push({ text, kind: 'control', style: 'never' });
  for (const text of TAGS) builder.tokens.push({ text, kind: 'tag', style: text === '</tool_call>' ? 'tag' : 'never' });
  return {
    tokens: builder.tokens,
    merges: builder.merges,
    ids: {
      bos: first,
      startOfTurn: first + 1,
      endOfTurn: first + 2,
      padding: first + 3,
      infillPrefix: first + 4,
      infillSuffix: first + 5,
      infillMiddle: first + 6,
      tools: first + 7,
      toolCall: first + 8,
      toolCallEnd: first + 9,
      toolResponse: first + 10,
      openBrace: 0x7b,
      closeBrace: 0x7d,
    },
  };
}

/** GPT-2's reversible map from a byte to a printable character. Source: `bytes_to_unicode` in openai/gpt-2 `encoder.py`. */
export function byteToCharacter(byte: number): string {
  return BYTE_CHARACTERS[byte]!;
}

const BYTE_CHARACTERS = Array.from({ length: 256 }, (_, byte) => byte).map((byte, _index, bytes) => {
  if (isPrintable(byte)) return String.fromCodePoint(byte);
  const rank = bytes.filter((other) => other < byte && !isPrintable(other)).length;
  return String.fromCodePoint(256 + rank);
});
const SPACE = byteToCharacter(0x20);

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/** Words beyond the fixed part, as merges whose two sides exist already: `bada`, ` bada`, `badabada`, … without end. */
function* words(syllables: readonly string[]): Generator<readonly [string, string]> {
  let shorter: readonly string[] = syllables;
  for (;;) {
    const longer: string[] = [];
    for (const left of shorter) {
      for (const right of syllables) {
        yield [left, right];
        yield [SPACE + left, right];
        longer.push(left + right);
      }
    }
    shorter = longer;
  }
}

/** Collects tokens and merges, keeping each token's bytes spelled in GPT-2 characters. */
class VocabularyBuilder {
  readonly tokens: TinyToken[] = [];
  readonly merges: string[] = [];
  readonly #known = new Set<string>();

  addByte(byte: number): void {
    this.tokens.push({ text: byteToCharacter(byte), kind: 'normal', style: styleOfByte(byte) });
  }

  addMerge(left: string, right: string, style: TokenStyle): void {
    const text = left + right;
    if (this.#known.has(text)) return;
    this.#known.add(text);
    this.tokens.push({ text, kind: 'normal', style });
    this.merges.push(`${left} ${right}`);
  }

  /** A character of several bytes: partial tokens, which are not valid UTF-8 and never written, and the whole one. */
  addCharacter(character: string): void {
    const bytes = [...Buffer.from(character, 'utf8')].map(byteToCharacter);
    for (let end = 2; end <= bytes.length; end += 1) {
      const style = end === bytes.length ? 'symbol' : 'never';
      this.addMerge(bytes.slice(0, end - 1).join(''), bytes[end - 1]!, style);
    }
  }
}

function styleOfByte(byte: number): TokenStyle {
  const character = String.fromCodePoint(byte);
  if (character === '"') return 'quote';
  if (character === '}' || character === ']') return 'bracket';
  if (PUNCTUATION.has(byte)) return 'punctuation';
  return byte >= 0x20 && byte <= 0x7e ? 'rare' : 'never';
}
