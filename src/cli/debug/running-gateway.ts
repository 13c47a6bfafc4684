/** What a running gateway tells, as far as there is one. */

/** How long it may take for one answer, in ms. */
const TIMEOUT_MS = 5000;
/** Longest answer that is taken, in characters. */
const MAX_CHARACTERS = 4_000_000;

/** A text, or why there is none. */
export type Told = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly message: string };

/** Asks a running gateway for one of its own routes. Never rejects. @param base its address. @param key an API key. */
export async function askGateway(base: string, path: string, key: string | null): Promise<Told> {
  const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
  try {
    const response = await fetch(new URL(path, base), { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = (await response.text()).slice(0, MAX_CHARACTERS);
    if (response.ok) return { ok: true, text };
    return { ok: false, message: `${path} answered ${response.status}: ${text.slice(0, 500)}` };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { ok: false, message: `no answer from ${path}: ${cause instanceof Error ? cause.message : String(cause)}` };
  }
}
