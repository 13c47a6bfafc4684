import { type FakeLlamaServer, type FakeLlamaServerOptions, startFakeLlamaServer } from '../../../../testing/index.ts';

/** Slots of each double: more than any workload has requests at once, those included that it just left. */
export const SLOTS = 256;
/** Slots of those that are held on to on purpose. */
export const MOST_HELD = 1024;
/** 16 MB of JSON text, as one token. */
export const LARGE_ANSWER_BYTES = 16 * 1024 * 1024;

/** What the doubles do, by name. What goes wrong goes wrong with every request that generates. */
const BEHAVIOURS = {
  /** Answers, and embeds. */
  plain: { args: ['--embeddings'] },
  /** Has no time: 503. */
  busy: { faults: { refuse: { status: 503 } } },
  /** Refuses: 400. */
  unwilling: { faults: { refuse: { status: 400 } } },
  /** Breaks the connection after three tokens; a stream that goes on gets another three. */
  breaking: { faults: { after: { tokens: 3, fault: 'destroy' } } },
  /** Not one token comes while anybody waits. */
  silent: { slots: MOST_HELD, prefillMs: 600_000 },
  /** Nobody waits for the end of its answers. */
  slow: { tokensPerSecond: 100, replyTokens: 4000 },
  /** Two tokens come, and no more; its slots stay taken. */
  holding: { slots: MOST_HELD, faults: { after: { tokens: 2, fault: 'hang' } } },
  /** Cuts its JSON short, and breaks off its streams with garbage. */
  garbling: { faults: { malformedJson: true, after: { tokens: 1, fault: 'garbage' } } },
  /** Each token is 16 MB. */
  large: { tokens: ['x'.repeat(LARGE_ANSWER_BYTES)], replyTokens: 1 },
} as const satisfies Record<string, FakeLlamaServerOptions>;

/** Name of a double. */
export type EngineName = keyof typeof BEHAVIOURS;
/** Where the doubles are, as far as they were asked for. */
export type EngineUrls = Readonly<Record<EngineName, string>>;

/** The doubles of a test file. */
export interface Engines extends AsyncDisposable {
  /** Addresses of those doubles, and of no others; each is started once, when it is first asked for. */
  urls(names: readonly EngineName[]): Promise<EngineUrls>;
}

/** Doubles for all measurements. Their logs are kept in this process, which is why nothing is measured in it. */
export function openEngines(): Engines {
  const running = new Map<EngineName, Promise<FakeLlamaServer>>();
  const start = (name: EngineName): Promise<FakeLlamaServer> => {
    const double = running.get(name) ?? startFakeLlamaServer({ slots: SLOTS, ...BEHAVIOURS[name] });
    running.set(name, double);
    return double;
  };
  return {
    async urls(names) {
      const urls: Partial<Record<EngineName, string>> = {};
      for (const name of names) urls[name] = (await start(name)).url;
      return urls as EngineUrls;
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...running.values()].map(async (double) => (await double).stop()));
    },
  };
}
