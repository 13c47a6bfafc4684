import { interceptors, request, type Dispatcher } from 'undici';
import { z } from 'zod';
import { LlameroError } from '../../errors.ts';
import { createHttpClient } from '../download/http-client.ts';
import { ENGINE_REPOSITORY } from './pinned-engine.ts';

/** Deadlines of talking to the release server, in ms. */
export interface ReleaseTimeouts {
  /** Reaching the server, name lookup included. Default 4000. */
  connectMs: number;
  /** Silence before or within an answer. Default 15,000. */
  idleMs: number;
}

/** The defaults of {@link ReleaseTimeouts}. */
export const RELEASE_TIMEOUTS: ReleaseTimeouts = { connectMs: 4000, idleMs: 15_000 };

/** One downloadable file of a release. */
export interface ReleaseFile {
  name: string;
  url: string;
  sizeBytes: number;
  /** SHA-256 in hexadecimal digits. */
  sha256: string;
}

/** Where releases come from. Owns its connections: `close()` it. */
export interface ReleaseServer {
  dispatcher: Dispatcher;
  /** Name for messages. */
  name: string;
  /** Files of a release's tag. */
  files(tag: string, signal?: AbortSignal): Promise<ReleaseFile[]>;
  close(): Promise<void>;
}

const releaseSchema = z.object({
  assets: z.array(
    z.object({
      name: z.string().regex(/^[\w.-]+$/),
      size: z.number().int().positive(),
      digest: z.string().nullish(),
    }),
  ),
});
const POINTER_FILE = 'nightly-tag.txt';

/**
 * GitHub, or the mirror of `LLAMERO_RELEASE_MIRROR`, which has the same paths under one address:
 * `/repos/<repository>/releases/tags/<tag>` (the JSON of GitHub's API) and
 * `/<repository>/releases/download/<tag>/<file>`. Proxies are taken from the environment as usual.
 */
export function connectReleaseServer(env: NodeJS.ProcessEnv, timeouts: ReleaseTimeouts): ReleaseServer {
  const mirror = env['LLAMERO_RELEASE_MIRROR']?.replace(/\/+$/, '');
  const bases = { api: mirror || 'https://api.github.com', files: mirror || 'https://github.com' };
  const client = createHttpClient({ env, ...timeouts });
  const dispatcher = client.dispatcher.compose(interceptors.redirect({ maxRedirections: 5 }));
  // Shared addresses of CI machines use up GitHub's anonymous quota; the token of the job does not.
  const token = mirror ? undefined : env['GITHUB_TOKEN'];
  const headers = {
    'user-agent': 'llamero',
    accept: 'application/vnd.github+json',
    ...(token ? { authorization: `Bearer ${token}` } : {}),
  };
  const name = mirror ? new URL(mirror).host : 'github.com';
  const fileUrl = (tag: string, file: string) => `${bases.files}/${ENGINE_REPOSITORY}/releases/download/${tag}/${file}`;
  return {
    dispatcher,
    name,
    close: async () => await client[Symbol.asyncDispose](),
    async files(tag, signal) {
      const url = `${bases.api}/repos/${ENGINE_REPOSITORY}/releases/tags/${tag}`;
      const answer = releaseSchema.safeParse(JSON.parse(await fetchText(url, dispatcher, { headers, signal, name })));
      if (!answer.success) throw failed(`${name} answered something that is not a release`, answer.error);
      return answer.data.assets.flatMap(({ name: file, size, digest }) => {
        const sha256 = /^sha256:([0-9a-f]{64})$/.exec(digest ?? '')?.[1];
        // A file without a checksum cannot be verified, so it does not exist for us.
        return sha256 === undefined ? [] : [{ name: file, url: fileUrl(tag, file), sizeBytes: size, sha256 }];
      });
    },
  };
}

/**
 * The files of a tag. A versioned release of llama.cpp (`v0.5.0`) holds no archives but a file that names the build
 * with them (`b11150`); that is followed.
 * @throws LlameroError `install_failed`
 */
export async function releaseFiles(
  server: ReleaseServer,
  tag: string,
  signal?: AbortSignal,
): Promise<{ tag: string; files: ReleaseFile[] }> {
  const files = await server.files(tag, signal);
  const pointer = files.find((file) => file.name === POINTER_FILE);
  if (pointer === undefined) return { tag, files };
  const text = await fetchText(pointer.url, server.dispatcher, { signal, name: server.name });
  const build = /^\s*([\w.-]{1,64})\s*$/.exec(text)?.[1];
  if (build === undefined) throw failed(`${server.name} does not tell which build llama.cpp ${tag} is`);
  return { tag: build, files: await server.files(build, signal) };
}

/** A failed network call as an error that tells whether the server was reached at all. */
export function describeNetworkError(error: unknown, server: string): LlameroError {
  if (error instanceof LlameroError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return failed(`${server} cannot be reached: its name is not known here (${code}).`, error);
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ECONNREFUSED':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return failed(`${server} cannot be reached (${code}).`, error);
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return failed(`${server} stopped answering (${code}).`, error);
    default:
      return failed(`The connection to ${server} failed: ${message}.`, error);
  }
}

async function fetchText(
  url: string,
  dispatcher: Dispatcher,
  { headers, signal, name }: { headers?: Record<string, string>; signal?: AbortSignal; name: string },
): Promise<string> {
  try {
    const { statusCode, body } = await request(url, { dispatcher, headers: headers ?? {}, signal });
    const text = await body.text();
    if (statusCode === 200) return text;
    if (statusCode === 404) throw failed(`${name} has no ${new URL(url).pathname}.`);
    const limited = (statusCode === 403 || statusCode === 429) && /rate limit/i.test(text);
    throw failed(
      limited
        ? `${name} refuses further anonymous requests for a while; set GITHUB_TOKEN, or try again later.`
        : `${name} answered with status ${statusCode}.`,
    );
  } catch (error) {
    if (signal?.aborted)
      throw new LlameroError('cancelled', 'The installation was cancelled.', { cause: signal.reason });
    throw describeNetworkError(error, name);
  }
}

function failed(message: string, cause?: unknown): LlameroError {
  return new LlameroError('install_failed', message, { cause });
}
