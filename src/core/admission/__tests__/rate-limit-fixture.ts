import { parseConfig, type ConfigInput } from '../../config.ts';
import type { LlameroError } from '../../errors.ts';
import { LlameroEmitter, type LlameroEvents } from '../../events.ts';
import { ANONYMOUS, type Client } from '../client.ts';
import { RATE_LIMIT_WINDOWS, type WindowName } from '../rate-limit-policy.ts';
import { RateLimits, type RateGrant, type RateLimitsOptions } from '../rate-limits.ts';

type RateLimitInput = NonNullable<ConfigInput['rateLimit']>;

/** The windows of llamero with other durations. */
export function windowsOf(durations: Partial<Record<WindowName, number>>) {
  return RATE_LIMIT_WINDOWS.map(({ name, unit, policy, durationMs }) => ({
    name,
    unit,
    policy,
    durationMs: durations[name] ?? durationMs,
  }));
}

export interface Fixture extends AsyncDisposable {
  readonly limits: RateLimits;
  readonly refusals: LlameroEvents['rate-limit'][0][];
  readonly storeChanges: LlameroEvents['rate-limit-store'][0][];
  readonly events: LlameroEmitter;
  admit(size?: {
    promptTokens?: number;
    maxTokens?: number | null;
    client?: Client;
    signal?: AbortSignal;
    countsTokens?: boolean;
  }): Promise<RateGrant>;
  /** The error of a request that must be refused. */
  refused(size?: Parameters<Fixture['admit']>[0]): Promise<LlameroError>;
}

/** Limits of which only those named apply. */
export function rateLimits(
  rateLimit: RateLimitInput,
  options: RateLimitsOptions & { cleanup?: ConfigInput['cleanup'] } = {},
): Fixture {
  const input = { requestsPerMinute: null, requestsPerHour: null, ...rateLimit };
  const config = parseConfig({ rateLimit: input, cleanup: options.cleanup });
  const events = new LlameroEmitter();
  const refusals: Fixture['refusals'] = [];
  const storeChanges: Fixture['storeChanges'] = [];
  events.on('rate-limit', (refusal) => refusals.push(refusal));
  events.on('rate-limit-store', (change) => storeChanges.push(change));
  const limits = new RateLimits({ ...config.rateLimit, cleanup: config.cleanup }, events, options);
  let count = 0;
  const admit: Fixture['admit'] = ({
    client = ANONYMOUS,
    promptTokens = 1,
    maxTokens = 1,
    countsTokens = true,
    signal = new AbortController().signal,
  } = {}) => limits.admit({ id: `request-${(count += 1)}`, client, promptTokens, maxTokens, countsTokens }, signal);
  const refused: Fixture['refused'] = (size) =>
    admit(size).then(
      () => {
        throw new Error('The request was admitted.');
      },
      (error: LlameroError) => error,
    );
  return { limits, refusals, storeChanges, events, admit, refused, [Symbol.asyncDispose]: () => limits.stop() };
}

/** A client with an address. */
export function clientAt(address: string, limits: Client['limits'] = {}): Client {
  return { ...ANONYMOUS, pool: 'ip', key: `ip:${address}`, limits };
}
