import type { LlameroEvents } from '../core/events.ts';
import type { GatewayBackend } from './backend.ts';

/** A request that is answered with an error before it reaches the pipeline; see the event `request-refused`. */
export type Refusal = LlameroEvents['request-refused'][0];

/** The `route` of a refusal whose request asked for no route that there is, or was not understood. */
export const NO_ROUTE = 'none';

/** To be called where such an answer is given, once: the pipeline tells of all requests that it had. */
export function tellRefusal({ events }: GatewayBackend, refusal: Refusal): void {
  events?.publish('request-refused', refusal);
}
