import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { createGateway, type Gateway } from '../../../../gateway/gateway.ts';
import type { LlamaCppProvider } from '../../llama-cpp-provider.ts';
import { connectTo, listeners } from './connected-provider.ts';
import { measurement, type Workload } from './workload.ts';

interface Served {
  readonly gateway: Gateway;
  readonly provider: LlamaCppProvider;
  readonly slow: Gateway;
  readonly slowProvider: LlamaCppProvider;
  readonly ports: { readonly plain: number; readonly slow: number };
  readonly agent: Agent;
}

const MESSAGES = [{ role: 'user', content: 'Hello' }];

/** HTTP clients: whole answers, streams to their end, wrong requests, and clients that leave before and amid their answer. */
export const served: Workload = ({ urls, tally }) =>
  measurement({
    open: async (): Promise<Served> => {
      const plain = await serve(urls.plain);
      const slow = await serve(urls.slow);
      const agent = new Agent({ keepAlive: true });
      const ports = { plain: plain.port, slow: slow.port };
      const { gateway, provider } = plain;
      return { gateway, provider, slow: slow.gateway, slowProvider: slow.provider, ports, agent };
    },
    run: async ({ ports, agent }: Served) => {
      const ask = (body: unknown, path = '/v1/chat/completions') =>
        post(ports.plain, agent, path, JSON.stringify(body));
      tally.add(String(await finished(await ask({ messages: MESSAGES, max_tokens: 4 }))));
      tally.add(`stream ${await finished(await ask({ messages: MESSAGES, max_tokens: 4, stream: true }))}`);
      tally.add(String(await finished(await ask({ messages: 'none' }))));
      tally.add(String(await finished(await ask({}, '/nowhere'))));
      tally.add(String(await finished(await post(ports.plain, agent, '/v1/chat/completions', '{'))));
      await leave(ports.slow, { messages: MESSAGES });
      await leaveMidway(ports.slow, { messages: MESSAGES, stream: true });
      tally.add('left');
    },
    close: async ({ gateway, provider, slow, slowProvider, agent }: Served) => {
      agent.destroy();
      await Promise.all([gateway.stop(), slow.stop()]);
      await Promise.all([provider.cleanup(), slowProvider.cleanup()]);
    },
    counts: ({ provider, slowProvider }: Served) => listeners({ provider, slowProvider }),
    unitsPerBatch: 20,
  });

/** A gateway per unit, with one answered request. */
export const regated: Workload = ({ urls, tally }) =>
  measurement({
    open: () => null,
    run: async () => {
      const { gateway, provider, port } = await serve(urls.plain);
      const agent = new Agent({ keepAlive: true });
      const answer = await post(port, agent, '/v1/chat/completions', JSON.stringify({ messages: MESSAGES }));
      tally.add(String(await finished(answer)));
      agent.destroy();
      await gateway.stop();
      await provider.cleanup();
    },
    unitsPerBatch: 6,
    limits: { heap: 16_384, external: 65_536, anonymous: 131_072 },
  });

async function serve(url: string) {
  const provider = connectTo(url);
  const gateway = createGateway({ provider, config: provider.config });
  const { port } = await gateway.listen({ port: 0 });
  return { provider, gateway, port };
}

async function post(port: number, agent: Agent | false, path: string, body: string): Promise<IncomingMessage> {
  const headers = { 'content-type': 'application/json' };
  const call = request({ host: '127.0.0.1', port, method: 'POST', path, agent, headers });
  call.end(body);
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  // Of an answer that is destroyed in the middle its request says so, too.
  call.on('error', () => undefined);
  return answer;
}

/** Reads the answer. @returns its status */
async function finished(answer: IncomingMessage): Promise<number> {
  answer.resume();
  await once(answer, 'end');
  return answer.statusCode ?? 0;
}

/** Is gone as soon as the request is sent. */
async function leave(port: number, body: unknown): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const call = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: '/v1/chat/completions',
    agent: false,
    headers,
  });
  // A request that is destroyed says so.
  call.on('error', () => undefined);
  call.end(JSON.stringify(body), () => call.destroy());
  await once(call, 'close');
}

/** Is gone behind the first bytes of the answer. */
async function leaveMidway(port: number, body: unknown): Promise<void> {
  const answer = await post(port, false, '/v1/chat/completions', JSON.stringify(body));
  await once(answer, 'data');
  answer.on('error', () => undefined);
  answer.destroy();
  await once(answer, 'close');
}
