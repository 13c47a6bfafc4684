import { hideSecrets } from '../safe-log-fields.ts';

/** Takes secrets out of what is sent to somebody else: those that are known, and what looks like one. */

/** What stands where a secret stood. */
export const HIDDEN = '***';

/** Names of variables whose values are secrets; paths of files that hold one are not. */
const SECRET_VARIABLE = /KEY|TOKEN|SECRET|PASS(?!IVE)|CREDENTIAL|AUTH|COOKIE|SIGNATURE|HEADERS|WEBHOOK/i;
const NAMES_A_FILE = /_(FILE|PATH|DIR)$/i;
/** Paths of configuration keys whose texts are secrets. */
const SECRET_KEY = /secret|token|passw|passphrase|apikey$|credential|authorization|headers/i;
/** Shorter ones are hidden where they are known to stand, but not looked for everywhere. */
const MIN_SEARCHED = 4;

/** What looks like a secret wherever it stands. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/\b(llamero_|hf_|sk-|ghp_|github_pat_|xox[a-z]-)[\w-]{8,}/g, `$1${HIDDEN}`],
  [/\b(Bearer|Basic) +[\w.~+/=-]{4,}/gi, `$1 ${HIDDEN}`],
  [/(\/\/)[^\s/@"'<>]+@/g, `$1${HIDDEN}@`],
  [/([?&][^\s=&"']*(?:key|token|secret|passw|sig|auth|credential)[^\s=&"']*=)[^\s&"'#]+/gi, `$1${HIDDEN}`],
];

/** Hides the secrets of a text. */
export type Redactor = (text: string) => string;

/**
 * @param secrets texts that must not be seen, whatever they look like; also as JSON and as a part of a URL.
 * @param homes folders of the user, which become `~`.
 */
export function createRedactor(secrets: Iterable<string>, homes: Iterable<string>): Redactor {
  const known = [...new Set([...secrets].filter(({ length }) => length >= MIN_SEARCHED).flatMap(spellings))];
  const folders = [...new Set([...homes].filter(({ length }) => length > 1).flatMap(spellings))];
  // A secret that holds another one must be hidden whole.
  known.sort(longestFirst);
  folders.sort(longestFirst);
  return (text) => {
    let clean = text;
    for (const secret of known) clean = clean.replaceAll(secret, HIDDEN);
    for (const [pattern, replacement] of PATTERNS) clean = clean.replace(pattern, replacement);
    for (const folder of folders) clean = clean.replaceAll(folder, '~');
    return clean;
  };
}

/** The secrets among environment variables: by their names, and those within addresses. */
export function secretsOfEnvironment(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    const whole = isSecretVariable(name) ? [value] : [];
    return whole.concat(secretsOfAddress(value));
  });
}

/** Whether a variable of that name holds a secret. */
export function isSecretVariable(name: string): boolean {
  return SECRET_VARIABLE.test(name) && !NAMES_A_FILE.test(name);
}

/**
 * The secrets in configuration, valid or not: texts below telling keys, options of the engine, parts of addresses. The whole
 * address of a webhook is one: its path often is what lets in.
 */
export function secretsOfConfiguration(value: unknown, path = ''): string[] {
  if (typeof value === 'string') {
    const isWhole = SECRET_KEY.test(path) || (/webhook/i.test(path) && value.includes('://'));
    return isWhole ? [value] : secretsOfAddress(value);
  }
  if (Array.isArray(value)) {
    const texts = value.map(String);
    const hidden = hideSecrets(texts);
    const options = texts.filter((text, at) => text !== hidden[at]).map((text) => text.replace(/^--?[\w-]+=/, ''));
    return [...options, ...value.flatMap((item) => secretsOfConfiguration(item, path))];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => secretsOfConfiguration(item, `${path}.${key}`));
}

/** User, password and query of an address; as they are written, and as they are meant. */
export function secretsOfAddress(text: string): string[] {
  const { user, password, query } =
    /^[\w+.-]+:\/\/(?:(?<user>[^\s/:@]*)(?::(?<password>[^\s/@]*))?@)?[^\s?]*(?:\?(?<query>\S+))?$/.exec(text.trim())
      ?.groups ?? {};
  const values = [...new URLSearchParams(query ?? '').values()];
  return [user, password, ...values].flatMap((part) => (part ? [part, decoded(part)] : []));
}

/** A value of any shape with its texts redacted, keys of objects included. */
export function redactDeep(value: unknown, redact: Redactor): unknown {
  if (typeof value === 'string') return redact(value);
  if (Array.isArray(value)) return value.map((item) => redactDeep(item, redact));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [redact(key), redactDeep(item, redact)]));
}

/** As it is, within JSON, and within an address. */
function spellings(text: string): string[] {
  return [text, JSON.stringify(text).slice(1, -1), encodeURIComponent(text)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A percent sign that stands for itself.
    return text;
  }
}

function longestFirst(a: string, b: string): number {
  return b.length - a.length;
}
