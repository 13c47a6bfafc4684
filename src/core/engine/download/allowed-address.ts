const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Whether llamero downloads models from this address: https anywhere, http from this machine only (a local mirror),
 * because http has no protection against a changed model on the way.
 */
export function isAllowedAddress(url: URL): boolean {
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && LOOPBACK_HOSTS.has(url.hostname);
}
