import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const CHAT = '/v1/chat/completions';
/** Between two requests of one client, in ms, at most. */
const LONGEST_PAUSE_MS = 20;
/** How long a reader that does not keep up pauses, in ms. */
const STALL_MS = 300;

interface Caller {
  readonly port: number;
  readonly agent: Agent;
  readonly random: () => number;
}

/** What clients do, and how often of 100 times. */
const KINDS: readonly [name: string, share: number, act: (caller: Caller) => Promise<string>][] = [
  ['whole answer', 40, (caller) => outcome(caller, { max_tokens: 8 })],
  ['stream', 28, (caller) => outcome(caller, { max_tokens: 24, stream: true })],
  ['slow reader', 6, (caller) => outcome(caller, { max_tokens: 60, stream: true }, {}, true)],
  ['left midway', 8, leaveMidway],
  ['left at once', 5, leaveAtOnce],
  ['too late', 5, (caller) => outcome(caller, { max_tokens: 500 }, { 'x-request-timeout': '20' })],
  ['wrong', 4, (caller) => outcome(caller, { messages: 'none' })],
  ['scrape', 2, (caller) => scrape(caller)],
  ['large', 2, (caller) => outcome(caller, { max_tokens: 1, padding: 'x'.repeat(200_000) })],
];

/** What the clients have done so far. */
export interface LoadCounts {
  requests: number;
  /** By kind and what became of it: a status, or how it ended otherwise. */
  readonly outcomes: Record<string, number>;
}

/** Sends requests of every kind until the signal aborts; then resolves when the last of them has ended. */
export async function runClients(
  { port, clients, random, counts }: { port: number; clients: number; random: () => number; counts: LoadCounts },
  signal: AbortSignal,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const caller: Caller = { port, agent, random };
  const client = async (): Promise<void> => {
    while (!signal.aborted) {
      const [name, , act] = choose(random);
      const result = await act(caller).catch((error: unknown) => `broken: ${codeOf(error)}`);
      counts.requests += 1;
      const key = `${name}: ${result}`;
      counts.outcomes[key] = (counts.outcomes[key] ?? 0) + 1;
      await sleep(random() * LONGEST_PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
}

function choose(random: () => number): (typeof KINDS)[number] {
  let left = random() * KINDS.reduce((sum, [, share]) => sum + share, 0);
  for (const kind of KINDS) {
    left -= kind[1];
    if (left < 0) return kind;
  }
  return KINDS[0] as (typeof KINDS)[number];
}

async function outcome(
  caller: Caller,
  fields: Record<string, unknown>,
  headers: Record<string, string> = {},
  slowly = false,
): Promise<string> {
  const answer = await post(caller, fields, headers, caller.agent);
  if (slowly) {
    await once(answer, 'readable');
    await sleep(STALL_MS);
  }
  answer.resume();
  await once(answer, 'end');
  return String(answer.statusCode);
}

async function leaveMidway(caller: Caller): Promise<string> {
  const answer = await post(caller, { max_tokens: 800, stream: true }, {}, false);
  if (answer.statusCode === 200) await once(answer, 'readable');
  answer.on('error', () => undefined);
  answer.destroy();
  return String(answer.statusCode);
}

async function leaveAtOnce(caller: Caller): Promise<string> {
  const call = request({ ...target(caller), agent: false, method: 'POST', headers: headersOf(caller) });
  call.on('error', () => undefined);
  call.end(bodyOf({ max_tokens: 200 }), () => call.destroy());
  await new Promise<void>((resolve) => call.once('close', () => resolve()));
  return 'gone';
}

async function scrape({ port, agent }: Caller): Promise<string> {
  const call = request({ host: '127.0.0.1', port, path: '/metrics', agent });
  call.end();
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return String(answer.statusCode);
}

async function post(
  caller: Caller,
  fields: Record<string, unknown>,
  headers: Record<string, string>,
  agent: Agent | false,
): Promise<IncomingMessage> {
  const call = request({ ...target(caller), agent, method: 'POST', headers: { ...headersOf(caller), ...headers } });
  call.end(bodyOf(fields));
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  // Whoever cuts an answer off hears of it here, too.
  call.on('error', () => undefined);
  return answer;
}

function target({ port }: Caller) {
  return { host: '127.0.0.1', port, path: CHAT };
}

/** Ever new sessions, some of which come back. */
function headersOf({ random }: Caller): Record<string, string> {
  return { 'content-type': 'application/json', 'x-session-id': `session-${Math.floor(random() * 100_000)}` };
}

function bodyOf(fields: Record<string, unknown>): string {
  return JSON.stringify({ messages: [{ role: 'user', content: 'Tell me a story.' }], ...fields });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
