/** What a failed connection to an engine means for the request on it. */
export type Loss =
  /** Nobody was there to take the request. */
  | 'not-sent'
  /** The engine said nothing for longer than a stream may be silent. */
  | 'silent'
  /** What came is not HTTP. */
  | 'not-http'
  /** The connection broke while the request was at the engine. */
  | 'broken';

/** Codes of undici (`docs/api/Errors.md`) and of the system for a connection that never came about. */
const NOT_SENT = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTSOCK',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
]);

/** Tells losses apart by the error code that undici reports. */
export function lossOf(error: NodeJS.ErrnoException): Loss {
  const code = error.code ?? '';
  if (code === 'UND_ERR_BODY_TIMEOUT') return 'silent';
  // Error codes of llhttp, the parser.
  if (code.startsWith('HPE_')) return 'not-http';
  return NOT_SENT.has(code) ? 'not-sent' : 'broken';
}
