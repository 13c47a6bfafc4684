import { LlameroError } from '../../errors.ts';
import { isAllowedAddress } from '../download/allowed-address.ts';

/** What a user's word for a model means, before anything has been looked at. */
export type ModelReference =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string }
  | {
      readonly kind: 'huggingface';
      /** `user/repo` */
      readonly repository: string;
      /** As the user wrote it, such as `Q4_K_M`; null: llamero chooses. */
      readonly quantization: string | null;
      /** One file of the repository, as a path inside it. */
      readonly file?: string;
    };

const NAME = '[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?';
const REPOSITORY = new RegExp(`^(${NAME}/${NAME})(?::([A-Za-z0-9_.-]+))?$`);
const REPOSITORY_FILE = new RegExp(`^(${NAME}/${NAME})/(.+\\.gguf)$`, 'i');
const HUB_PAGE = new RegExp(`^/(${NAME}/${NAME})(?:/(?:blob|resolve)/main/(.+\\.gguf))?/?$`, 'i');
const HUB_HOSTS = new Set(['huggingface.co', 'www.huggingface.co', 'hf.co']);

/**
 * Reads a model reference: a path, an https address, `user/repo[:quant]` or `user/repo/file.gguf`. Pure: nothing is
 * looked up. `data/models/x.gguf` is a repository file here; `resolveModel` prefers a local file of that name.
 * Addresses of pages on huggingface.co mean the repository or file that they show.
 * @throws LlameroError `invalid_options` for an empty text, another scheme, or http beyond loopback.
 */
export function parseModelReference(text: string): ModelReference {
  const trimmed = text.trim();
  if (trimmed === '') throw invalid('The model reference is empty.');
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed)) return parseAddress(trimmed);
  if (isPlainlyPath(trimmed)) return { kind: 'path', path: trimmed };

  const file = REPOSITORY_FILE.exec(trimmed);
  if (file?.[1] !== undefined && file[2] !== undefined) {
    return { kind: 'huggingface', repository: file[1], quantization: null, file: file[2] };
  }
  const repository = REPOSITORY.exec(trimmed);
  if (repository?.[1] !== undefined && !/\.gguf$/i.test(trimmed)) {
    return { kind: 'huggingface', repository: repository[1], quantization: repository[2] ?? null };
  }
  return { kind: 'path', path: trimmed };
}

function parseAddress(text: string): ModelReference {
  if (!URL.canParse(text)) throw invalid(`"${text}" is not a valid address.`);
  const url = new URL(text);
  if (!isAllowedAddress(url)) {
    throw invalid(`"${url.protocol}//${url.host}" is not supported: use https:// (http:// only from this machine).`);
  }
  const page = HUB_HOSTS.has(url.hostname) ? HUB_PAGE.exec(decodeURIComponent(url.pathname)) : null;
  if (page?.[1] === undefined) return { kind: 'url', url: url.href };
  const base = { kind: 'huggingface', repository: page[1], quantization: null } as const;
  return page[2] === undefined ? base : { ...base, file: page[2] };
}

function isPlainlyPath(text: string): boolean {
  return /^[./~\\]/.test(text) || /^[A-Za-z]:[\\/]/.test(text) || text.includes('\\') || !text.includes('/');
}

function invalid(message: string): LlameroError {
  return new LlameroError(
    'invalid_options',
    `${message} A model is a path to a .gguf file, an https address, or a Hugging Face name such as user/repo:Q4_K_M.`,
    { param: 'model' },
  );
}
