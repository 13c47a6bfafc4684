import type { Client } from '../core/admission/client.ts';
import type { RateLimitState } from '../core/admission/rate-limit-policy.ts';
import type { Config } from '../core/config.ts';
import type { LlameroEmitter } from '../core/events.ts';
import type { Exchange, PipelineRequest, ResponseSink } from '../core/exchange.ts';
import type { HeldBodies } from './incoming-body.ts';

/** What `/metrics` answers; `createMetrics` makes it. */
export interface GatewayMetrics {
  readonly contentType: string;
  text(): Promise<string>;
  /** Called by the gateway with the bodies that it holds; what it returns, when the gateway has ended. */
  showBodies?(bodies: HeldBodies): () => void;
}

/** What `/admin/status` tells of alerts. */
export interface GatewayAlerts {
  /** Null: none are looked for. */
  status(): Record<string, unknown> | null;
}

/** What the gateway needs of the provider behind it. */
export interface GatewayBackend {
  /** With these, and the whole status of a `LlamaCppProvider`, its requests are counted for `/metrics`. */
  readonly events?: LlameroEmitter;
  /** What the gateway goes by when it is given no configuration of its own. */
  readonly config?: Config;
  /** Runs one request; the answer arrives in `sink`, possibly before this returns. */
  exchange(request: PipelineRequest, sink: ResponseSink): Exchange;
  /** What a client has left of its limits, for the headers of what is refused before the limits are asked. */
  limitsOf?(client: Client): RateLimitState;
  /** A planned restart that loses no request; without it there is no route for one. @throws LlameroError */
  restartEngine?(): Promise<EngineRestart>;
  /** What is known of the engine now; shown whole at `/admin/status`, only `state` at `/health`. */
  status(): BackendStatus;
}

/** The part of the status that the gateway understands. `state` is `ready` when requests may flow. */
export interface BackendStatus {
  readonly state: string;
}

/** How a planned restart went. */
export interface EngineRestart {
  /** Generation before, and after. */
  readonly from: number;
  readonly to: number;
  /** Whether the old engine served until the new one was ready. */
  readonly overlap: boolean;
  readonly slotsRestored: number;
  readonly durationMs: number;
}
