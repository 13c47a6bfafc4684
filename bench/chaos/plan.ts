import { seededRandom } from '../statistics.ts';

/** What every client will do, and when the engine will be hurt: made from the seed alone, so that a run can be repeated. */

/** How the body of a request that generates looks; see `Dialect` of the gateway. */
export type PlannedDialect = (typeof DIALECTS)[number];
/** What a request asks for. `garbage` and `half` are refused, or never become a request. */
export type RequestKind = 'stream' | 'whole' | 'embedding' | 'tokenize' | 'template' | 'count' | 'garbage' | 'half';
/** Whose key it carries; see `callers.ts`. */
export type CallerName = (typeof CALLERS)[number];

/** One request as planned. */
export interface PlannedRequest {
  readonly kind: RequestKind;
  readonly caller: CallerName;
  readonly dialect: PlannedDialect;
  /** Number of the prompt, of the input of an embedding, or of the piece of garbage. */
  readonly prompt: number;
  /** Tokens to generate. */
  readonly tokens: number;
  /** Probabilities with every token, which make an event large: what a reader that stalls has to be sent. */
  readonly probabilities: number;
  /** Inputs of an embedding, or choices of a whole answer: each takes a slot. */
  readonly sequences: number;
  readonly headers: Readonly<Record<string, string>>;
  /** When the client goes away; null: it takes its answer. */
  readonly leave: { readonly afterMs: number } | { readonly afterEvents: number } | null;
  /** When it stops reading, and for how long. */
  readonly stall: { readonly afterEvents: number; readonly ms: number } | null;
}

/** Requests that are sent at once, and the pause that follows when all of them have ended. */
export interface Step {
  readonly requests: readonly PlannedRequest[];
  readonly thinkMs: number;
}

/** Something that happens to the engine, so long after it recovered from the one before. */
export interface Fault {
  readonly afterMs: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP' | 'SIGTERM' | 'SIGSEGV';
}

export const DIALECTS = ['chat', 'completions', 'responses', 'messages', 'completion'] as const;
const CALLERS = ['light', 'heavy', 'plain', 'batch', 'flood', 'limited', 'leased', 'proxy'] as const;
/** Different prompts; each has a known greedy answer. */
export const PROMPTS = 4;
/** Kinds of garbage in `garbage.ts`. */
export const GARBAGE_KINDS = 18;
/** Longest answer that is asked for, in tokens. */
export const LONGEST_ANSWER = 240;

const LENGTHS = [8, 20, 60, 120, LONGEST_ANSWER];
const FLOOD_REQUESTS = 50;
const LEASED_REQUESTS = 6;
/** Tokens of the light client: a question now and then. */
const LIGHT_TOKENS = 6;
/** Seeds of the parts of a run must not overlap. */
const CLIENT_STRIDE = 7919;

type Random = () => number;
type Draw = (random: Random, caller: CallerName) => readonly PlannedRequest[];

const PLAIN = { probabilities: 0, sequences: 1, headers: {}, leave: null, stall: null } as const;

const HABITS: readonly { readonly weight: number; readonly draw: Draw }[] = [
  { weight: 20, draw: (random, caller) => [generation(random, caller, 'stream')] },
  { weight: 12, draw: (random, caller) => [generation(random, caller, 'whole')] },
  { weight: 8, draw: (random, caller) => [small(random, caller)] },
  { weight: 5, draw: (random, caller) => [manifold(random, caller)] },
  { weight: 6, draw: (random, caller) => [leaving(random, caller, { afterMs: between(random, 0, 30) })] },
  { weight: 8, draw: (random, caller) => [leaving(random, caller, { afterMs: between(random, 30, 1200) })] },
  { weight: 8, draw: (random, caller) => [leaving(random, caller, { afterEvents: between(random, 1, 80) })] },
  { weight: 5, draw: (random, caller) => [stalling(random, caller)] },
  {
    weight: 6,
    draw: (random, caller) => [{ ...small(random, caller), kind: 'garbage', prompt: pick(random, GARBAGE) }],
  },
  { weight: 4, draw: (random, caller) => [halfRequest(random, caller)] },
  { weight: 6, draw: (random, caller) => [spoofed(random, caller)] },
  { weight: 6, draw: (random, caller) => [hurried(random, caller)] },
  { weight: 5, draw: (random, caller) => [watchful(random, caller)] },
  { weight: 5, draw: (random, caller) => burst(random, caller) },
];
const TOTAL_WEIGHT = HABITS.reduce((sum, { weight }) => sum + weight, 0);
const GARBAGE = Array.from({ length: GARBAGE_KINDS }, (_, kind) => kind);

/** Everything that client will do, without end. Client 0 is the light one. */
export function* clientPlan(seed: number, client: number): Generator<Step, never> {
  const random = seededRandom(seed + (client + 1) * CLIENT_STRIDE);
  const caller = CALLERS[client === 0 ? 0 : 1 + ((client - 1) % (CALLERS.length - 1))] ?? 'plain';
  for (;;) {
    if (caller === 'light') {
      const request = { ...PLAIN, kind: 'stream', caller, dialect: 'chat', tokens: LIGHT_TOKENS } as const;
      yield { requests: [{ ...request, prompt: between(random, 0, PROMPTS - 1) }], thinkMs: between(random, 300, 900) };
    } else {
      const requests = habit(random).draw(random, caller);
      yield { requests, thinkMs: between(random, 0, 400) };
    }
  }
}

/** Everything that will happen to the engine, without end. `everyMs`: least and most time between two of them. */
export function* faultPlan(seed: number, [least, most]: readonly [number, number]): Generator<Fault, never> {
  const random = seededRandom(seed);
  for (;;) {
    const drawn = random();
    const signal = drawn < 0.45 ? 'SIGKILL' : drawn < 0.75 ? 'SIGSTOP' : drawn < 0.87 ? 'SIGTERM' : 'SIGSEGV';
    yield { afterMs: between(random, least, most), signal };
  }
}

function habit(random: Random): (typeof HABITS)[number] {
  let drawn = random() * TOTAL_WEIGHT;
  for (const one of HABITS) if ((drawn -= one.weight) < 0) return one;
  throw new Error('the weights do not add up');
}

function generation(random: Random, caller: CallerName, kind: 'stream' | 'whole'): PlannedRequest {
  return {
    ...PLAIN,
    kind,
    caller,
    dialect: pick(random, DIALECTS),
    prompt: between(random, 0, PROMPTS - 1),
    tokens: pick(random, LENGTHS),
  };
}

function small(random: Random, caller: CallerName): PlannedRequest {
  const kind = pick(random, ['embedding', 'tokenize', 'template', 'count'] as const);
  return { ...generation(random, caller, 'whole'), kind };
}

/** Takes several slots at once, and now and then does not wait for the answer. */
function manifold(random: Random, caller: CallerName): PlannedRequest {
  return {
    ...generation(random, caller, 'whole'),
    kind: random() < 0.5 ? 'embedding' : 'whole',
    dialect: 'chat',
    sequences: between(random, 2, 4),
    tokens: pick(random, [8, 20, 60]),
    leave: random() < 0.3 ? { afterMs: between(random, 5, 400) } : null,
  };
}

function leaving(random: Random, caller: CallerName, leave: NonNullable<PlannedRequest['leave']>): PlannedRequest {
  const kind = 'afterMs' in leave && random() < 0.4 ? 'whole' : 'stream';
  return { ...generation(random, caller, kind), tokens: LONGEST_ANSWER, leave };
}

function stalling(random: Random, caller: CallerName): PlannedRequest {
  return {
    ...generation(random, caller, 'stream'),
    dialect: 'completion',
    tokens: LONGEST_ANSWER,
    probabilities: 100,
    stall: { afterEvents: between(random, 1, 20), ms: between(random, 1000, 5000) },
    leave: random() < 0.3 ? { afterEvents: between(random, 30, 200) } : null,
  };
}

function halfRequest(random: Random, caller: CallerName): PlannedRequest {
  const leave = { afterMs: between(random, 1, 400) };
  return { ...generation(random, caller, 'stream'), kind: 'half', leave };
}

/** Says to be somebody else; who may act for others makes up a session for every request. */
function spoofed(random: Random, caller: CallerName): PlannedRequest {
  const number = between(random, 0, 1_000_000);
  const headers = pick<Readonly<Record<string, string>>>(random, [
    { 'x-user-id': `user-${number}` },
    { 'x-session-id': `session-${number}` },
    { 'x-forwarded-for': `10.1.${number % 250}.7, 192.0.2.${number % 250}` },
    { 'x-user-id': 'light', 'x-priority': 'interactive' },
    { forwarded: `for="[2001:db8::${number % 9999}]:4711"` },
  ]);
  return { ...generation(random, caller, random() < 0.5 ? 'stream' : 'whole'), tokens: 8, headers };
}

function hurried(random: Random, caller: CallerName): PlannedRequest {
  const headers = { 'x-request-timeout': String(between(random, 20, 1500)) };
  return { ...generation(random, caller, random() < 0.5 ? 'stream' : 'whole'), tokens: LONGEST_ANSWER, headers };
}

function watchful(random: Random, caller: CallerName): PlannedRequest {
  return { ...generation(random, caller, 'stream'), headers: { 'x-queue-position': '1', 'x-priority': 'batch' } };
}

function burst(random: Random, caller: CallerName): PlannedRequest[] {
  const count = caller === 'flood' ? FLOOD_REQUESTS : LEASED_REQUESTS;
  const length = { length: count };
  return Array.from(length, () => ({
    ...generation(random, caller, random() < 0.5 ? 'stream' : 'whole'),
    tokens: pick(random, [8, 20]),
  }));
}

function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[Math.floor(random() * items.length)] as Item;
}

function between(random: Random, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}
