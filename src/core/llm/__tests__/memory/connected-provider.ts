import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { ConfigInput } from '../../../config.ts';
import { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { SLOTS } from './engines.ts';
import type { OpenWorkload } from './workload.ts';

/** A provider for a double, that uses all its slots. */
export function connectTo(url: string, options: ConfigInput = {}): LlamaCppProvider {
  return LlamaCppProvider.connect(url, { maxConcurrentRequests: SLOTS, ...options });
}

/** A workload over providers, which are cleaned up at its end and whose listeners are counted. */
export function over<Names extends Record<string, LlamaCppProvider>>(
  providers: Names,
  run: (providers: Names, unit: number) => Promise<unknown>,
): Required<OpenWorkload> {
  return {
    run: (unit) => run(providers, unit),
    counts: () => listeners(providers),
    close: () => Promise.all(Object.values(providers).map((provider) => provider.cleanup())),
  };
}

/** An address at which nobody listens any more. */
export async function gone(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

/** How many listeners all events of each provider have. */
export function listeners(providers: Readonly<Record<string, LlamaCppProvider>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(providers).map(([name, { events }]) => [
      `listeners of ${name}`,
      events.eventNames().reduce((sum, event) => sum + events.listenerCount(event), 0),
    ]),
  );
}
