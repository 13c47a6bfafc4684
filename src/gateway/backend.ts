import type { Config } from '../core/config.ts';
import type { Exchange, PipelineRequest, ResponseSink } from '../core/exchange.ts';

/** What the gateway needs of the provider behind it. */
export interface GatewayBackend {
  /** What the gateway goes by when it is given no configuration of its own. */
  readonly config?: Config;
  /** Runs one request; the answer arrives in `sink`, possibly before this returns. */
  exchange(request: PipelineRequest, sink: ResponseSink): Exchange;
  /** What is known of the engine now; shown whole at `/admin/status`, only `state` at `/health`. */
  status(): BackendStatus;
}

/** The part of the status that the gateway understands. `state` is `ready` when requests may flow. */
export interface BackendStatus {
  readonly state: string;
}
