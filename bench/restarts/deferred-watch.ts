import { Client } from 'undici';
import type { LlameroEmitter } from '../../src/core/events.ts';

const LOOK_MS = 50;

/** Looks at `requests_deferred` of every engine that lives: requests that wait in its own queue, where llamero should hold them. */
export class DeferredWatch implements Disposable {
  most = 0;
  readonly #clients = new Map<number, Client>();
  readonly #timer: NodeJS.Timeout;

  constructor(events: LlameroEmitter) {
    events.on('engine-start', ({ generation, args }) => {
      const socketPath = args[args.indexOf('--host') + 1];
      if (socketPath?.endsWith('.sock') === true)
        this.#clients.set(generation, new Client('http://localhost', { socketPath }));
    });
    events.on('engine-exit', ({ generation }) => this.#forget(generation));
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const generation of this.#clients.keys()) this.#forget(generation);
  }

  #look(): void {
    for (const client of this.#clients.values()) void this.#ask(client);
  }

  async #ask(client: Client): Promise<void> {
    try {
      const { body } = await client.request({ path: '/metrics', method: 'GET' });
      const deferred = /^llamacpp:requests_deferred (\d+)/m.exec(await body.text())?.[1];
      this.most = Math.max(this.most, Number(deferred ?? 0));
    } catch {
      // It is not there yet, or no more.
    }
  }

  #forget(generation: number): void {
    void this.#clients.get(generation)?.destroy();
    this.#clients.delete(generation);
  }
}
