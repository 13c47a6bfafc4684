import type { RateLimitState, RateLimitWindow, WindowState } from './rate-limit-policy.ts';

/**
 * Headers that tell a client what it has left: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI's API
 * sends them, of the window with the least left; and `RateLimit` and `RateLimit-Policy` with all windows
 * (draft-ietf-httpapi-ratelimit-headers-10, structured fields).
 * @returns name, value, name, value, …; empty when nothing is limited.
 */
export function rateLimitHeaders(state: RateLimitState): string[] {
  const { windows } = state;
  const headers: string[] = [];
  if (windows.length === 0) return headers;
  let current = '';
  let policy = '';
  for (const { window, limit, remaining, resetMs } of windows) {
    const name = current === '' ? `"${window.policy}"` : `, "${window.policy}"`;
    current += `${name};r=${remaining};t=${wholeSeconds(resetMs)}`;
    policy += `${name};q=${limit};w=${wholeSeconds(window.durationMs)}`;
    // The draft registers no unit for tokens; requests are its default.
    if (window.unit === 'tokens') policy += ';qu="tokens"';
  }
  pushBinding(headers, bindingWindow(windows, 'requests'));
  pushBinding(headers, bindingWindow(windows, 'tokens'));
  headers.push('ratelimit', current, 'ratelimit-policy', policy);
  return headers;
}

/** The window of that unit with the least left; of several the one that ends last; null: there is none. */
export function bindingWindow(windows: readonly WindowState[], unit: RateLimitWindow['unit']): WindowState | null {
  let binding: WindowState | null = null;
  for (const state of windows) {
    if (state.window.unit !== unit) continue;
    if (
      binding === null ||
      state.remaining < binding.remaining ||
      (state.remaining === binding.remaining && state.resetMs > binding.resetMs)
    ) {
      binding = state;
    }
  }
  return binding;
}

/** A duration as OpenAI's API writes it (that is, as Go does), in whole seconds rounded up: `1s`, `6m0s`, `24h0m0s`. */
export function resetDuration(durationMs: number): string {
  const seconds = wholeSeconds(durationMs);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds % 60}s`;
}

function pushBinding(headers: string[], state: WindowState | null): void {
  if (state === null) return;
  const { unit } = state.window;
  headers.push(
    `x-ratelimit-limit-${unit}`,
    String(state.limit),
    `x-ratelimit-remaining-${unit}`,
    String(state.remaining),
    `x-ratelimit-reset-${unit}`,
    resetDuration(state.resetMs),
  );
}

function wholeSeconds(durationMs: number): number {
  return Math.max(0, Math.ceil(durationMs / 1000));
}
