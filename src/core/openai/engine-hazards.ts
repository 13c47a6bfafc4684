import { LlameroError } from '../errors.ts';

/**
 * Field values with which one request makes llama-server crash, hang or eat the machine's memory for everybody, seen
 * with v0.5.0. All other values go on unchecked: whether they make sense is for the engine to say.
 */

/** `src/llama-sampler.cpp` allocates (twice) and clears so many numbers per request; no context is longer. */
const MAX_LAST_N = 1_048_576;
/** Each is matched against the whole vocabulary before the first token, in the one thread that decodes for all. */
const MAX_SEQUENCE_BREAKERS = 64;
/** `src/llama-grammar.cpp` parses groups by recursion: some ten thousand levels overflow the stack. */
const MAX_GRAMMAR_GROUPS = 200;
const MAX_GRAMMAR_CHARACTERS = 256 * 1024;
/** Trigger kinds from here on are regular expressions, matched by backtracking at every token (`common/sampling.cpp`). */
const FIRST_PATTERN_KIND = 2;

/** @throws LlameroError `invalid_request` that names the field. */
export function checkHazards(fields: Readonly<Record<string, unknown>>): void {
  checkLastN(fields, 'repeat_last_n');
  checkLastN(fields, 'dry_penalty_last_n');
  const { dry_sequence_breakers: breakers, grammar, grammar_triggers: triggers } = fields;
  if (Array.isArray(breakers) && breakers.length > MAX_SEQUENCE_BREAKERS) {
    refuse('dry_sequence_breakers', `may have ${MAX_SEQUENCE_BREAKERS} entries at most`);
  }
  if (typeof grammar === 'string') checkGrammar(grammar);
  if (Array.isArray(triggers) && triggers.some((trigger) => isPattern(trigger))) {
    refuse('grammar_triggers', 'may be words and tokens, not patterns');
  }
}

function checkLastN(fields: Readonly<Record<string, unknown>>, name: string): void {
  const value = fields[name];
  if (typeof value === 'number' && value > MAX_LAST_N) refuse(name, `may be ${MAX_LAST_N} at most`);
}

function checkGrammar(grammar: string): void {
  if (grammar.length > MAX_GRAMMAR_CHARACTERS)
    refuse('grammar', `may have ${MAX_GRAMMAR_CHARACTERS} characters at most`);
  let depth = 0;
  for (const [bracket] of grammar.matchAll(/[()]/g)) {
    depth += bracket === '(' ? 1 : -1;
    if (depth > MAX_GRAMMAR_GROUPS) refuse('grammar', `may nest ${MAX_GRAMMAR_GROUPS} groups at most`);
  }
}

function isPattern(trigger: unknown): boolean {
  const kind: unknown = typeof trigger === 'object' && trigger !== null && 'type' in trigger ? trigger.type : null;
  return typeof kind === 'number' && kind >= FIRST_PATTERN_KIND;
}

function refuse(field: string, rule: string): never {
  throw new LlameroError('invalid_request', `'${field}' ${rule}.`, { param: field });
}
