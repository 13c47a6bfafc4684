import { z } from 'zod';

/** A duration that may be 0; the description says what takes so long. */
export const milliseconds = (description: string) =>
  z.number().int().min(0).max(2_147_483_647).describe(`${description} (ms)`);
/** A duration of at least 1 ms. */
export const positiveMilliseconds = (description: string) => milliseconds(description).min(1);
/** A TCP port; 0 asks for any free one. */
export const port = z.number().int().min(0).max(65535);
