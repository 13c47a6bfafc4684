import { type EventEmitter, once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { createGateway } from '../../../../gateway/gateway.ts';
import { connectTo, listeners } from './connected-provider.ts';
import type { Workload } from './workload.ts';

const CHAT = '/v1/chat/completions';
const MESSAGES = [{ role: 'user', content: 'Hello' }];

/** HTTP clients: whole answers, streams to their end, wrong requests, and clients that leave before and amid their answer. */
export const served: Workload = async ({ urls, tally }) => {
  const quick = await serve(urls.plain);
  const slow = await serve(urls.slow);
  const agent = new Agent({ keepAlive: true });
  const ask = async (body: unknown, path = CHAT) =>
    finished(await post(quick.port, agent, path, typeof body === 'string' ? body : JSON.stringify(body)));
  return {
    run: async () => {
      tally.add(String(await ask({ messages: MESSAGES, max_tokens: 4 })));
      tally.add(`stream ${await ask({ messages: MESSAGES, max_tokens: 4, stream: true })}`);
      tally.add(String(await ask({ messages: 'none' })));
      tally.add(String(await ask('{')));
      tally.add(String(await ask({}, '/nowhere')));
      await leave(slow.port, { messages: MESSAGES });
      await leaveMidway(slow.port, { messages: MESSAGES, stream: true });
      tally.add('left');
    },
    counts: () => listeners({ quick: quick.provider, slow: slow.provider }),
    close: async () => {
      agent.destroy();
      await Promise.all([quick.stop(), slow.stop()]);
    },
  };
};

/** A gateway and its provider that come and go, with one answered request. */
export const regated: Workload = ({ urls, tally }) => ({
  run: async () => {
    const { port, stop } = await serve(urls.plain);
    const agent = new Agent({ keepAlive: true });
    tally.add(String(await finished(await post(port, agent, CHAT, JSON.stringify({ messages: MESSAGES })))));
    agent.destroy();
    await stop();
  },
});

async function serve(url: string) {
  const provider = connectTo(url);
  const gateway = createGateway({ provider, config: provider.config });
  const { port } = await gateway.listen({ port: 0 });
  const stop = async (): Promise<void> => {
    await gateway.stop();
    await provider.cleanup();
  };
  return { provider, port, stop };
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
  const call = request({ host: '127.0.0.1', port, method: 'POST', path: CHAT, agent: false, headers });
  call.end(JSON.stringify(body), () => call.destroy());
  await closed(call);
}

/** Is gone behind the first bytes of the answer. */
async function leaveMidway(port: number, body: unknown): Promise<void> {
  const answer = await post(port, false, CHAT, JSON.stringify(body));
  await once(answer, 'data');
  answer.destroy();
  await closed(answer);
}

/** Whoever is destroyed says that it was cut off; that is no news. */
function closed(cutOff: EventEmitter): Promise<void> {
  cutOff.on('error', () => undefined);
  return new Promise((resolve) => cutOff.once('close', () => resolve()));
}
