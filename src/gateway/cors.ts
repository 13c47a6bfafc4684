import { isAllowedOrigin } from './access.ts';

/** CORS headers, names and values in turn. Pure. */

const EXPOSED =
  'x-request-id, retry-after, server-timing, ratelimit, ratelimit-policy, x-ratelimit-limit-requests, ' +
  'x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, ' +
  'x-ratelimit-reset-tokens, x-stream-id';
const NONE: readonly string[] = [];

/** What every answer to a permitted page carries; empty without an origin, or for one that is not permitted. */
export function corsHeaders(corsOrigins: readonly string[], origin: string | undefined): readonly string[] {
  if (origin === undefined || !isAllowedOrigin(corsOrigins, origin)) return NONE;
  return ['access-control-allow-origin', origin, 'vary', 'Origin', 'access-control-expose-headers', EXPOSED];
}

/** What the answer to a preflight carries in addition. `asked` is `Access-Control-Request-Headers`. */
export function preflightHeaders(methods: string, asked: string | undefined): readonly string[] {
  return [
    'access-control-allow-methods',
    methods,
    'access-control-allow-headers',
    asked !== undefined && /^[\w\-, ]{1,2000}$/.test(asked) ? asked : 'authorization, content-type, x-api-key',
    'access-control-max-age',
    '600',
  ];
}
