import { createHmac } from 'node:crypto';

/** Header that proves who sent a message, and when: `t=<seconds since 1970>,v1=<hexadecimal HMAC-SHA256>`. */
export const SIGNATURE_HEADER = 'x-llamero-signature';

/**
 * The signature of a body: HMAC-SHA256 (RFC 2104) over the time, a dot and the body. The time is signed with it so that an old
 * message that somebody has seen cannot be sent again later. Pure.
 */
export function signWebhook(secret: string, body: string, timestampSeconds: number): string {
  const mac = createHmac('sha256', secret).update(`${timestampSeconds}.${body}`).digest('hex');
  return `t=${timestampSeconds},v1=${mac}`;
}
