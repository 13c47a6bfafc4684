import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pinCommand } from '../machine.ts';
import type { Reply, Usage } from './agent.ts';

const AGENT = new URL('agent.ts', import.meta.url).href;
const STOP_MS = 3000;
/** Which core a process runs on: the gateway under test has one for itself. */
export type Core = 'gateway' | 'load';

/** A program of the bench as a child process of its own, pinned to a core, that can be asked for its CPU time and memory. */
export class MeasuredProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #port = Promise.withResolvers<number>();
  readonly #exited: Promise<unknown>;
  readonly #program: string;
  #nextId = 1;

  private constructor(program: string, core: Core, argument: unknown, nodeOptions: readonly string[]) {
    this.#program = program;
    const script = fileURLToPath(new URL(program, import.meta.url));
    const nodeArguments = ['--expose-gc', '--import', AGENT, ...nodeOptions, script, JSON.stringify(argument)];
    const [command, ...args] = pinCommand(core, [process.execPath, ...nodeArguments]);
    this.#child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#exited = once(this.#child, 'exit');
    this.#child.on('message', (message) => this.#onMessage(message as Reply | { port: number }));
    this.#child.on('error', (error) => this.#fail(error));
    this.#child.on('exit', (code, signal) => this.#fail(new Error(`${program} ended (${code ?? signal})`)));
    // Each waiting question is told by itself; this one may have nobody waiting.
    this.#port.promise.catch(() => undefined);
  }

  /** Starts a program of this folder. `argument` reaches it as JSON in its first argument. */
  static start(
    program: string,
    core: Core,
    argument: unknown = {},
    nodeOptions: readonly string[] = [],
  ): MeasuredProcess {
    return new MeasuredProcess(program, core, argument, nodeOptions);
  }

  /** Where it listens, once it does. */
  get port(): Promise<number> {
    return this.#port.promise;
  }

  /** CPU time and memory so far; `collect` runs a full garbage collection first (and does not count its cost). */
  usage(collect = false): Promise<Usage> {
    return this.ask('usage', { collect });
  }

  /** Asks what the program registered with `answer`. The caller knows the type of the answer. */
  async ask<Answer>(subject: string, payload: unknown): Promise<Answer> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    this.#child.send({ id, subject, payload });
    return (await promise) as Answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(force);
  }

  #onMessage(message: Reply | { port: number }): void {
    if ('port' in message) {
      this.#port.resolve(message.port);
      return;
    }
    const waiter = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('value' in message) waiter?.resolve(message.value);
    else waiter?.reject(new Error(`${this.#program}: ${message.problem}`));
  }

  #fail(error: Error): void {
    this.#port.reject(error);
    for (const waiter of this.#waiting.values()) waiter.reject(error);
    this.#waiting.clear();
  }
}
