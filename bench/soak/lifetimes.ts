import { CONFIGURED_LIFETIMES } from './served.ts';

/**
 * How long llamero keeps what is not in use any more, in ms; those that the run configures are shorter than by default. A run that is
 * not longer than the longest cannot tell what waits for its end from a leak.
 */
const LIFETIMES: Readonly<Record<string, number>> = {
  'state of absent clients': CONFIGURED_LIFETIMES.cleanupIntervalMs + CONFIGURED_LIFETIMES.clientMaxAgeMs,
  'windows of rate limits': 60_000,
  'streams without their client': 60_000,
  'alerts that are over': 15 * 60_000,
  'requests that were at an engine when it died': 3_600_000,
};

/** The longest time to live in the system. */
export function longestLifetime(): { name: string; ms: number } {
  const [name, ms] = Object.entries(LIFETIMES).reduce((longest, one) => (one[1] > longest[1] ? one : longest));
  return { name, ms };
}
