import type { Pool } from 'undici';

/** On this machine a connection is there at once, or refused. */
const CONNECT_TIMEOUT_MS = 5000;

interface Connecting {
  readonly socketPath?: string;
  /** Default 5000. */
  readonly connectTimeoutMs?: number | undefined;
}

/**
 * Connections to one engine. undici is loaded here and now: a supervised engine is loading its model meanwhile, and a
 * gateway that only begins to listen does not have to wait for it (some 100 ms).
 */
export async function openConnections(origin: string, { socketPath, connectTimeoutMs }: Connecting): Promise<Pool> {
  const undici = await import('undici');
  return new undici.Pool(origin, {
    ...(socketPath === undefined ? {} : { socketPath }),
    connect: { timeout: connectTimeoutMs ?? CONNECT_TIMEOUT_MS },
    // One request at a time on a connection: a stream would hold up whatever is queued behind it.
    pipelining: 1,
    connections: null,
    // Deadlines are the pipeline's business; undici's defaults would cut a long prefill after 300 s.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}
