import { LlameroError } from '../errors.ts';
import type { Exchange, ResponseSink } from '../exchange.ts';
import { parseAnswer } from '../openai/engine-answer.ts';

/** Sends, and gives the sink and the running exchange to whoever knows how. */
export type Send = (sink: ResponseSink) => Exchange;

/** A whole answer as a promise. @throws LlameroError of the exchange; `cancelled` with the signal's reason as cause. */
export async function collectAnswer(send: Send, signal: AbortSignal | undefined): Promise<unknown> {
  if (signal?.aborted === true) throw cancelledBy(signal);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  let body = Buffer.alloc(0);
  const exchange = send({
    onHead: () => undefined,
    onData: (chunk) => {
      body = chunk as Buffer<ArrayBuffer>;
      return true;
    },
    onEnd: () => resolve(body),
    onError: reject,
  });
  const onAbort = (): void => exchange.cancel(cancelledBy(signal));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return parseAnswer(await promise);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** The error of a call whose signal was aborted. */
export function cancelledBy(signal: AbortSignal | undefined): LlameroError {
  return new LlameroError('cancelled', 'The call was cancelled through its signal.', { cause: signal?.reason });
}
