import { z } from 'zod';
import { milliseconds, port } from './value-schemas.ts';

const network = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);

/** `gateway`: where it listens, and whom and what it lets in. */
export const gatewaySchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on'),
  port: z
    .union([z.literal('auto'), port])
    .default(8080)
    .describe("Port to listen on; 'auto' or 0 asks for any free one"),
  apiKeyFile: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('File of hashed API keys, written by `llamero keys add`'),
  trustedProxies: z
    .array(
      z.string().refine((text) => network.safeParse(text).success, 'an IP address or a CIDR range such as 10.0.0.0/8'),
    )
    .default([])
    .describe('Addresses or CIDR ranges whose X-Forwarded-For, X-User-Id and X-Session-Id are believed'),
  bodyLimit: z
    .number()
    .int()
    .min(1024)
    .max(1_073_741_824)
    .default(16_777_216)
    .describe('Largest request body, in bytes'),
  corsOrigins: z.array(z.string()).default([]).describe("Origins that browsers may call from; '*' for any"),
  allowRemoteMedia: z
    .boolean()
    .default(false)
    .describe('Whether a request may name http(s) addresses of images that the engine then fetches'),
  drainTimeout: milliseconds('How long running requests may go on after SIGTERM').default(30_000),
});
