import type { MemoryFit } from '../core/engine/model/machine-memory.ts';

const FIT_WORDS: Record<MemoryFit, string> = {
  fits: 'fits',
  tight: 'tight: more than is available now, so other programs must give way',
  'too-large': 'too large for this machine: it would crawl, or be killed',
};

/** A {@link MemoryFit} for people. */
export function describeFit(fit: MemoryFit): string {
  return FIT_WORDS[fit];
}

/** A number of weights for people: `1.24 billion`, `151 thousand`. */
export function formatCount(count: number): string {
  if (count < 1000) return String(count);
  const [unit, name] = [[1e9, 'billion'] as const, [1e6, 'million'] as const].find(([least]) => count >= least) ?? [
    1e3,
    'thousand',
  ];
  return `${Number((count / unit).toPrecision(3))} ${name}`;
}
