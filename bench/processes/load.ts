import { answer } from './agent.ts';
import { type Exchange, LoadConnection } from './load-connection.ts';
import { requestBytes } from './request-bytes.ts';

/** The load generator: a process of its own, driven by the bench. */

/** Connections that each send the next request when they have the answer to the last one. */
export interface LoadJob {
  readonly port: number;
  readonly connections: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
  /** The run ends after that many requests in all, or */
  readonly requests?: number;
  /** after that many ms, when the requests that are on their way have been answered. */
  readonly durationMs?: number;
  /** Events that each answer must have. */
  readonly events?: number;
}

/** What a {@link LoadJob} came to. */
export interface LoadResult {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly events: number;
  /** Per request, in ms, in ascending order. */
  readonly totalMs: readonly number[];
  /** Until the first byte of a body, in ms, in ascending order. */
  readonly firstMs: readonly number[];
}

/** Connections that send one request and then keep what they have. */
export interface HoldJob {
  readonly port: number;
  readonly connections: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** Whether the first bytes of an answer must have come before a connection counts. */
  readonly untilFirstByte: boolean;
}

const held: LoadConnection[] = [];

answer('run', run);
answer('hold', hold);
answer('let-go', () => {
  for (const connection of held.splice(0)) connection.close();
});

async function run(job: LoadJob): Promise<LoadResult> {
  const request = requestBytes(job.body, job.headers);
  const connections = await Promise.all(Array.from({ length: job.connections }, () => LoadConnection.open(job.port)));
  const exchanges: Exchange[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + (job.durationMs ?? Number.POSITIVE_INFINITY);
  let toSend = job.requests ?? Number.POSITIVE_INFINITY;
  const mayGoOn = (): boolean => {
    toSend -= 1;
    return toSend >= 0 && performance.now() < endsAt;
  };
  const onExchange = (exchange: Exchange): void => {
    exchanges.push(exchange);
    if (exchange.status === 200 && (job.events === undefined || exchange.events === job.events)) return;
    throw new Error(`not the expected answer: ${JSON.stringify(exchange)}`);
  };
  try {
    await Promise.all(connections.map((connection) => drive(connection, request, mayGoOn, onExchange)));
  } catch (error) {
    for (const connection of connections) connection.close();
    throw error;
  }
  const elapsedMs = performance.now() - startedAt;
  // What is measured next must not find the remains of these connections.
  await Promise.all(connections.map((connection) => connection.end()));
  return {
    requests: exchanges.length,
    elapsedMs,
    events: exchanges.reduce((sum, exchange) => sum + exchange.events, 0),
    totalMs: exchanges.map((exchange) => exchange.totalMs).toSorted((a, b) => a - b),
    firstMs: exchanges.map((exchange) => exchange.firstMs).toSorted((a, b) => a - b),
  };
}

/** Sends one request after the other. Callbacks, since a promise for each would be felt at this rate. */
function drive(
  connection: LoadConnection,
  request: Buffer,
  mayGoOn: () => boolean,
  onExchange: (exchange: Exchange) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = (): void => {
      if (!mayGoOn()) resolve();
      else connection.send(request, onAnswer);
    };
    const onAnswer = (exchange: Exchange): void => {
      try {
        onExchange(exchange);
      } catch (error) {
        reject(error);
        return;
      }
      next();
    };
    next();
  });
}

/** Opens them in small groups: a listening socket takes only so many at once. */
async function hold({ port, connections, body, untilFirstByte }: HoldJob): Promise<void> {
  const request = requestBytes(body);
  for (let opened = 0; opened < connections;) {
    const group = await Promise.all(
      Array.from({ length: Math.min(50, connections - opened) }, () => LoadConnection.open(port)),
    );
    opened += group.length;
    held.push(...group);
    await Promise.all(
      group.map(
        (connection) =>
          new Promise<void>((resolve) => {
            connection.send(request, () => undefined, resolve);
            if (!untilFirstByte) resolve();
          }),
      ),
    );
  }
}
