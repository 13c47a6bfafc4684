import { LlameroError } from '../../core/errors.ts';
import type { Gateway, GatewayAddress } from '../../gateway/gateway.ts';

/** How many ports above a taken default one are tried. */
const FURTHER_PORTS = 50;

/** Which port was asked for. */
export interface WantedPort {
  readonly port: number | 'auto';
  /** Whether a user asked for this very port; then another one would not do. */
  readonly named: boolean;
}

/**
 * Listens on the wanted port; a default port that is taken gives way to the next free one.
 * @throws LlameroError `invalid_options` when the address cannot be bound, with the system's reason in `details.reason`.
 */
export async function listen(gateway: Pick<Gateway, 'listen'>, wanted: WantedPort): Promise<GatewayAddress> {
  if (wanted.named || wanted.port === 'auto' || wanted.port === 0) return gateway.listen();
  const last = Math.min(wanted.port + FURTHER_PORTS, 65_535);
  for (let port = wanted.port; ; port++) {
    try {
      return await gateway.listen({ port });
    } catch (error) {
      if (!isPortTaken(error) || port === last) throw error;
    }
  }
}

/** Whether that was thrown because another program listens there: nothing is wrong with the configuration then. */
export function isPortTaken(error: unknown): boolean {
  return error instanceof LlameroError && error.details['reason'] === 'EADDRINUSE';
}
