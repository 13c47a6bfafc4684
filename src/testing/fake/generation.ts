import type { ServerResponse } from 'node:http';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { breakStream, breakWhole, endProcess, openStream, sendBytes, sendError, sendJson, write } from './answer.ts';
import type { CountersFile } from './counters-file.ts';
import { DIALECTS, newReplyId, type DialectWriter, type FakeDialect } from './dialects.ts';
import type { FakeServerLog } from './log.ts';
import type { FakePrompt } from './prompt.ts';
import type { Reply, ReplyToken } from './reply.ts';
import { faultsOfRequest, type FakeServerFaults, type FakeServerSettings } from './settings.ts';
import type { HeldSlot, SlotQueue, SlotWork } from './slot-queue.ts';
import type { TokenSource } from './tokens.ts';

/** What the generation of answers needs from the server around it. */
export interface GenerationContext {
  readonly model: string;
  readonly contextLength: number;
  readonly settings: FakeServerSettings;
  readonly faults: FakeServerFaults;
  readonly tokens: TokenSource;
  readonly slots: SlotQueue;
  readonly counters: CountersFile;
  readonly log: FakeServerLog;
  /** Aborted by the first SIGTERM: decoding stops, open answers are never ended. */
  readonly stopping: AbortSignal;
  /** Called when a request begins to hang for good. */
  readonly onHang: () => void;
}

/** Works on one generating request, from waiting for a slot to the end of the answer. */
export async function generate(
  context: GenerationContext,
  dialect: FakeDialect,
  prompt: FakePrompt,
  response: ServerResponse,
): Promise<void> {
  const { counters, slots, log } = context;
  counters.change((values) => (values.started += 1));
  const task = counters.values.started;
  const faults = faultsOfRequest(context.faults, task, prompt.text);
  leak(faults.leakBytesPerRequest ?? 0);
  const gone = new AbortController();
  response.once('close', () => {
    counters.change((values) => (values[response.writableFinished ? 'finished' : 'aborted'] += 1));
    gone.abort();
  });
  if (refused(context, faults, prompt, response)) return;

  const slot = await slots.acquire(task, gone.signal);
  if (slot !== null) {
    log.info(`slot launch_slot_: id  ${slot.id} | task ${task} | processing task, is_child = 0`);
    try {
      await new Answer({
        context,
        faults,
        writer: DIALECTS[dialect],
        prompt,
        slot,
        response,
        gone: gone.signal,
      }).run();
    } finally {
      slot.release();
      log.info(`slot      release: id  ${slot.id} | task ${task} | stop processing: truncated = 0`);
    }
  }
}

const leaked: Buffer[] = [];

function leak(bytes: number): void {
  if (bytes > 0) leaked.push(Buffer.alloc(bytes, 1));
}

function refused(
  { contextLength }: GenerationContext,
  { refuse }: FakeServerFaults,
  { ids }: FakePrompt,
  response: ServerResponse,
): boolean {
  if (refuse !== undefined) {
    const headers: Record<string, string> =
      refuse.retryAfterSeconds === undefined ? {} : { 'Retry-After': String(refuse.retryAfterSeconds) };
    sendError(response, refuse.status, refuse.status === 503 ? 'unavailable_error' : 'server_error', 'refused', {
      headers,
    });
    return true;
  }
  if (ids.length < contextLength) return false;
  const message = `request (${ids.length} tokens) exceeds the available context size (${contextLength} tokens), try increasing it`;
  const fields = { n_prompt_tokens: ids.length, n_ctx: contextLength };
  sendError(response, 400, 'exceed_context_size_error', message, { fields });
  return true;
}

interface AnswerParts {
  readonly context: GenerationContext;
  readonly faults: FakeServerFaults;
  readonly writer: DialectWriter;
  readonly prompt: FakePrompt;
  readonly slot: HeldSlot;
  readonly response: ServerResponse;
  /** Aborted when the client's connection is closed. */
  readonly gone: AbortSignal;
}

/** One answer in the making. */
class Answer {
  readonly #context: GenerationContext;
  readonly #faults: FakeServerFaults;
  readonly #writer: DialectWriter;
  readonly #prompt: FakePrompt;
  readonly #response: ServerResponse;
  readonly #gone: AbortSignal;
  readonly #reply: Reply;
  readonly #work: SlotWork;

  constructor({ context, faults, writer, prompt, slot, response, gone }: AnswerParts) {
    this.#context = context;
    this.#faults = faults;
    this.#writer = writer;
    this.#prompt = prompt;
    this.#response = response;
    this.#gone = gone;
    this.#work = slot.work;
    const room = context.contextLength - prompt.ids.length;
    this.#reply = {
      id: newReplyId(),
      created: Math.floor(Date.now() / 1000),
      model: context.model,
      prompt: prompt.text,
      promptTokens: prompt.ids.length,
      slot: slot.id,
      maxTokens: Math.min(room, prompt.maxTokens ?? context.settings.replyTokens),
      stream: prompt.stream,
      prefix: prompt.prefix,
      options: prompt.options,
      tokens: [],
      finishReason: prompt.maxTokens === null || prompt.script !== null ? 'stop' : 'length',
      promptMs: 0,
      predictedMs: 0,
    };
  }

  async run(): Promise<void> {
    await this.#pause(this.#faults.slowHeadersMs ?? 0);
    if (this.#reply.stream && !this.#gone.aborted) this.#open();
    await this.#readPrompt();
    await this.#frames(this.#writer.open(this.#reply));
    const started = performance.now();
    for (const [index, token] of this.#sequence().entries()) {
      if (await this.#broken(index, token)) return;
      if (this.#gone.aborted) return;
      await this.#pace(started, index + 1);
      if (this.#gone.aborted) return;
      this.#reply.tokens.push(token);
      this.#work.decoded += 1;
      this.#reply.predictedMs = performance.now() - started;
      this.#context.counters.change((values) => (values.tokens += 1));
      await this.#frames(this.#writer.token(this.#reply, token));
    }
    if (await this.#broken(this.#reply.tokens.length, { id: 0, text: '' })) return;
    await this.#finish();
  }

  #sequence(): ReplyToken[] {
    const { script, ids } = this.#prompt;
    if (script !== null) return script.slice(0, this.#reply.maxTokens);
    const { tokens } = this.#context;
    const first = tokens.next(ids);
    return Array.from({ length: this.#reply.maxTokens }, (_, index) => {
      const id = first + index;
      return { id, text: tokens.text(id) };
    });
  }

  async #readPrompt(): Promise<void> {
    const { prefillMs, prefillSteps } = this.#context.settings;
    const { promptTokens, options } = this.#reply;
    for (let step = 0; step <= prefillSteps && !this.#gone.aborted; step += 1) {
      if (step > 0) await this.#pause(prefillMs / prefillSteps);
      this.#reply.promptMs = (prefillMs * step) / prefillSteps;
      this.#work.promptTokens = Math.round((promptTokens * step) / prefillSteps);
      if (options.returnProgress) await this.#frames(this.#writer.progress(this.#reply, this.#work.promptTokens));
    }
  }

  /** Sends the headers. From then on a thread of its own, which knows nothing of the decoding, keeps the connection open. */
  #open(): void {
    openStream(this.#response);
    const pings = setInterval(() => this.#response.write(':\n\n'), this.#context.settings.pingMs).unref();
    this.#response.once('close', () => clearInterval(pings));
  }

  /** Applies the fault that is due after so many tokens. Returns whether the answer is over. */
  async #broken(tokens: number, next: ReplyToken): Promise<boolean> {
    const fault = this.#faults.after;
    if (fault === undefined || fault.tokens !== tokens) return false;
    if (fault.fault === 'hang') {
      this.#context.onHang();
      await never();
    }
    if (fault.fault === 'end-process') {
      this.#context.counters.flush();
      endProcess(fault);
      // A stopped process goes on here when it is continued.
      return false;
    }
    if (!this.#reply.stream) {
      await breakWhole(this.#response, fault, JSON.stringify(this.#writer.whole(this.#reply)));
      return true;
    }
    const frame = this.#writer.token(this.#reply, { ...next, text: `${next.text} 🦙` }).join('');
    return !(await breakStream(this.#response, fault, frame));
  }

  async #finish(): Promise<void> {
    if (this.#reply.stream) {
      await this.#frames(this.#writer.close(this.#reply));
      this.#response.end();
    } else if (this.#faults.malformedJson === true) {
      const whole = Buffer.from(JSON.stringify(this.#writer.whole(this.#reply)));
      sendBytes(this.#response, 200, whole.subarray(0, Math.floor(whole.length / 2)));
    } else {
      sendJson(this.#response, 200, this.#writer.whole(this.#reply));
    }
    await settled(this.#response);
  }

  /** Each frame in a chunk of its own, as llama-server writes them; the client's reading sets the pace. */
  async #frames(frames: readonly string[]): Promise<void> {
    if (!this.#reply.stream) return;
    for (const frame of frames) await write(this.#response, frame);
  }

  /** Waits until the next token is due; for ever once the server is stopping. */
  async #pace(started: number, count: number): Promise<void> {
    const { tokensPerSecond } = this.#context.settings;
    if (tokensPerSecond > 0) await this.#pause(started + (count * 1000) / tokensPerSecond - performance.now());
    else await nextTurn();
    if (this.#context.stopping.aborted) await never();
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0) return;
    try {
      await sleep(ms, undefined, { signal: this.#gone });
    } catch (error) {
      // Only the client's going away ends the pause early; the caller looks at the signal.
      if (!this.#gone.aborted) throw error;
    }
  }
}

async function never(): Promise<never> {
  return await new Promise<never>(() => {});
}

async function settled(response: ServerResponse): Promise<void> {
  if (response.writableFinished || response.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  response.once('close', resolve);
  await promise;
}
