import { randomUUID } from 'node:crypto';
import { type Dispatcher, request } from 'undici';
import { signWebhook, SIGNATURE_HEADER } from './webhook-signature.ts';
import { delayBeforeRetry, type DeliveryOutcome, outcomeOfStatus } from './webhook-outcome.ts';

/** How long the end may wait for what has not been delivered, in ms; short where the receiver did not answer before. */
const FLUSH_MS = 800;
const FLUSH_TO_DEAD_MS = 200;
/** Of an answer nothing is read but its status; a body within this size is taken so that the connection can be used again. */
const ANSWER_BYTES = 16_384;

/** Options of {@link WebhookSender}; durations in ms. */
export interface WebhookOptions {
  /** http or https; user and password in it become Basic authentication. */
  readonly url: string;
  /** What signs the messages; null: they are not signed. */
  readonly secret: string | null;
  /** How long the receiver may take to answer. */
  readonly timeoutMs: number;
  readonly retryDelayMs: number;
  readonly maxDelayMs: number;
  /** A message that could not be delivered for this long is given up. */
  readonly deadlineMs: number;
  /** Messages that may wait; beyond that the oldest is dropped. */
  readonly maxQueue: number;
  /** Connections; whoever made them closes them, after {@link WebhookSender.stop}. */
  readonly dispatcher: Dispatcher;
  /** Told when messages do not arrive (`ok: false`), and when they do again. Names the origin of the address, never the rest. */
  readonly onReport?: (report: WebhookReport) => void;
}

/** News of the receiver. */
export interface WebhookReport {
  readonly ok: boolean;
  readonly message: string;
}

/** How it goes. */
export interface WebhookStatus {
  /** Messages that wait, the one that is being sent included. */
  readonly queued: number;
  readonly delivered: number;
  /** Messages that were given up: too old, too many, or not wanted. */
  readonly dropped: number;
  /** Why the last try failed; null since one succeeded. */
  readonly failure: string | null;
}

interface Message {
  readonly id: string;
  readonly body: string;
  readonly queuedAtMs: number;
  tries: number;
}

/**
 * Delivers messages to one receiver, one after the other and in their order, again and again until each has arrived or is given up. Whatever
 * the receiver does, nothing waits for it, nothing is thrown, and what is kept is bounded.
 */
export class WebhookSender {
  readonly #options: WebhookOptions;
  readonly #address: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #queue: Message[] = [];
  #sending: Message | null = null;
  #running: Promise<void> = Promise.resolve();
  #delivered = 0;
  #dropped = 0;
  #failure: string | null = null;
  /** Ends the present pause between two tries. */
  #wake: (() => void) | null = null;
  #attempt: AbortController | null = null;
  #ending: 'no' | 'last tries' | 'now' = 'no';

  constructor(options: WebhookOptions) {
    this.#options = options;
    const url = new URL(options.url);
    const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    const authorization: Record<string, string> =
      login === ':' ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` };
    url.username = '';
    url.password = '';
    this.#address = url.href;
    this.#headers = { 'content-type': 'application/json', 'user-agent': 'llamero', ...authorization };
  }

  /** Queues a message; it becomes JSON now, and goes out under one `x-llamero-delivery` at every try. */
  send(message: Readonly<Record<string, unknown>>): void {
    if (this.#ending !== 'no') return;
    const { maxQueue } = this.#options;
    while (this.#queue.length >= maxQueue) this.#drop(this.#queue.shift());
    this.#queue.push({ id: randomUUID(), body: JSON.stringify(message), queuedAtMs: performance.now(), tries: 0 });
    if (this.#sending === null) this.#running = this.#deliverAll();
  }

  status(): WebhookStatus {
    const queued = this.#queue.length + (this.#sending === null ? 0 : 1);
    return { queued, delivered: this.#delivered, dropped: this.#dropped, failure: this.#failure };
  }

  /** Tries each message that waits once more, within 0.8 s, and ends. Never rejects. Idempotent. */
  async stop(): Promise<void> {
    if (this.#ending === 'no') {
      this.#ending = 'last tries';
      this.#wake?.();
      const limitMs = this.#failure === null ? FLUSH_MS : FLUSH_TO_DEAD_MS;
      const timer = setTimeout(() => this.#endNow(), limitMs);
      void this.#running.then(() => clearTimeout(timer));
    }
    await this.#running;
  }

  #endNow(): void {
    this.#ending = 'now';
    this.#attempt?.abort();
  }

  async #deliverAll(): Promise<void> {
    for (;;) {
      const message = this.#queue.shift() ?? null;
      this.#sending = message;
      if (message === null) return;
      await this.#deliver(message);
    }
  }

  async #deliver(message: Message): Promise<void> {
    const { deadlineMs } = this.#options;
    while (this.#ending !== 'now') {
      const outcome = await this.#try(message);
      if (outcome.is === 'delivered') return this.#arrived();
      message.tries += 1;
      this.#failed(outcome.reason);
      if (outcome.is === 'refused' || this.#ending !== 'no') break;
      const delayMs = delayBeforeRetry(message.tries, this.#options, outcome.retryAfterMs, Math.random());
      if (performance.now() + delayMs - message.queuedAtMs > deadlineMs) break;
      await this.#pause(delayMs);
    }
    this.#drop(message);
  }

  async #try({ id, body }: Message): Promise<DeliveryOutcome> {
    const { secret, timeoutMs, dispatcher } = this.#options;
    const seconds = Math.floor(Date.now() / 1000);
    const signature = secret === null ? {} : { [SIGNATURE_HEADER]: signWebhook(secret, body, seconds) };
    const attempt = new AbortController();
    this.#attempt = attempt;
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      attempt.abort();
    }, timeoutMs);
    try {
      const answer = await request(this.#address, {
        method: 'POST',
        headers: { ...this.#headers, ...signature, 'x-llamero-delivery': id },
        body,
        dispatcher,
        signal: attempt.signal,
      });
      const retryAfter = answer.headers['retry-after'];
      const outcome = outcomeOfStatus(
        answer.statusCode,
        typeof retryAfter === 'string' ? retryAfter : null,
        Date.now(),
      );
      // How its body ends changes nothing any more.
      await answer.body.dump({ limit: ANSWER_BYTES, signal: attempt.signal }).catch(() => undefined);
      return outcome;
    } catch (error) {
      const reason = isLate ? `no answer within ${timeoutMs} ms` : reasonOf(error);
      return { is: 'failed', reason, retryAfterMs: null };
    } finally {
      clearTimeout(timer);
      this.#attempt = null;
    }
  }

  async #pause(delayMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    // Waiting for a receiver keeps no process alive.
    const timer = setTimeout(resolve, delayMs).unref();
    this.#wake = resolve;
    await promise;
    this.#wake = null;
    clearTimeout(timer);
  }

  #arrived(): void {
    this.#delivered += 1;
    const wasFailing = this.#failure !== null;
    this.#failure = null;
    if (!wasFailing) return;
    const dropped = this.#dropped === 0 ? '' : ` ${this.#dropped} have been dropped since the start.`;
    this.#report(true, `Alerts reach ${this.#origin} again.${dropped}`);
  }

  #failed(reason: string): void {
    const isFirst = this.#failure === null;
    this.#failure = reason;
    if (isFirst) this.#report(false, `Alerts do not reach ${this.#origin}: ${reason}`);
  }

  #drop(message: Message | undefined): void {
    if (message !== undefined) this.#dropped += 1;
  }

  #report(ok: boolean, message: string): void {
    this.#options.onReport?.({ ok, message });
  }

  /** What of the address may be told: the rest of it often is what lets in. */
  get #origin(): string {
    return new URL(this.#address).origin;
  }
}

/** Code or kind of an error; its message could quote the address. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const cause = error instanceof AggregateError ? error.errors[0] : error;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : error.name;
}
