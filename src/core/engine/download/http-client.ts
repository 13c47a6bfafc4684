import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import type { Dispatcher } from 'undici';

const CONNECT_TIMEOUT_MS = 10_000;
/** A server that says nothing for so long is given up on, and asked again for the rest. */
const SILENCE_TIMEOUT_MS = 60_000;

/** The connections of one download or lookup; close it when done. */
export interface HttpClient extends AsyncDisposable {
  readonly dispatcher: Dispatcher;
  /** `fetch` over the same connections, for libraries that take one. */
  readonly fetch: typeof globalThis.fetch;
}

/** What {@link createHttpClient} needs. */
export interface HttpClientOptions {
  /** `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` count, in either case; this machine is never reached through a proxy. */
  readonly env: NodeJS.ProcessEnv;
  /** Ends every `fetch` of this client. */
  readonly signal?: AbortSignal;
  /** Deadlines in ms: to reach the server (default 10,000), and of its silence (default 60,000). */
  readonly connectMs?: number;
  readonly idleMs?: number;
  /** Headers that `fetch` adds, to addresses of this origin only. */
  readonly authorize?: { readonly origin: string; readonly headers: Record<string, string> };
}

/** A client that honours proxies and gives up on silent servers. */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { env, signal, authorize, connectMs = CONNECT_TIMEOUT_MS, idleMs = SILENCE_TIMEOUT_MS } = options;
  const dispatcher = new EnvHttpProxyAgent({
    // Empty, not undefined: undici would look into process.env itself.
    httpProxy: env.http_proxy ?? env.HTTP_PROXY ?? '',
    httpsProxy: env.https_proxy ?? env.HTTPS_PROXY ?? '',
    noProxy: [env.no_proxy ?? env.NO_PROXY ?? '', 'localhost', '127.0.0.1', '::1'].filter(Boolean).join(','),
    connect: { timeout: connectMs },
    headersTimeout: idleMs,
    bodyTimeout: idleMs,
  });
  const fetch = async (input: string | URL, init: RequestInit = {}): Promise<unknown> => {
    const headers = new Headers(init.headers);
    if (authorize !== undefined && new URL(input).origin === authorize.origin) {
      for (const [name, value] of Object.entries(authorize.headers)) headers.set(name, value);
    }
    return await undiciFetch(input, { headers: [...headers], dispatcher, signal: signal ?? null });
  };
  return {
    dispatcher,
    // The same WHATWG interface; only the type declarations of Node and undici differ.
    fetch: fetch as typeof globalThis.fetch,
    [Symbol.asyncDispose]: () => dispatcher.destroy(),
  };
}
