import { z } from 'zod';
import { milliseconds, port, positiveMilliseconds } from './value-schemas.ts';

/** `engine`: what llama-server is started with, and when it is started again. */
export const engineSchema = z.strictObject({
  command: z
    .string()
    .min(1)
    .default('auto')
    .describe("Path of llama-server, or 'auto': LLAMA_SERVER_PATH, PATH, llamero's cache, install"),
  transport: z
    .enum(['unix', 'tcp'])
    .default(process.platform === 'win32' ? 'tcp' : 'unix')
    .describe('How llamero reaches the engine: a UNIX socket in a private directory, or a loopback TCP port'),
  port: z
    .union([z.literal('auto'), port.min(1)])
    .default('auto')
    .describe('TCP port of the engine; only with transport tcp'),
  parallel: z.number().int().min(1).max(256).default(4).describe('Slots: requests that the engine decodes at once'),
  ctxSize: z.number().int().min(64).max(16_777_216).default(4096).describe('Context length of one slot, in tokens'),
  args: z.array(z.string()).default([]).describe('Further options, handed to llama-server as they are'),
  startupTimeout: positiveMilliseconds('A start fails after this long without any progress of the load').default(
    120_000,
  ),
  memoryLimit: z
    .union([z.literal('auto'), z.number().int().min(16)])
    .default('auto')
    .describe('MB of anonymous memory per engine; at the limit it is drained and replaced'),
  drainTimeout: milliseconds(
    'How long requests may go on at an engine that is being replaced; what is left then goes on at the next one',
  ).default(30_000),
  restart: z
    .strictObject({
      maxRestarts: z
        .number()
        .int()
        .min(0)
        .max(1000)
        .default(5)
        .describe('Crashes within the window before the engine counts as failed'),
      window: positiveMilliseconds('The window in which crashes are counted').default(60_000),
      delay: milliseconds('Delay before the second restart within the window; the first comes at once').default(200),
      backoffMultiplier: z
        .number()
        .min(1)
        .max(100)
        .default(2)
        .describe('Factor by which the delay grows with each crash in the window'),
      maxDelay: milliseconds('Longest delay between restarts; also the pace of retries once failed').default(30_000),
    })
    .prefault({}),
});
