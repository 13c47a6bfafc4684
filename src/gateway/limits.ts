/** The limits of the HTTP side that are not worth a configuration key. All are overridable for tests. */
export interface GatewayLimits {
  /** A client has this long to send its request line and headers. */
  readonly headersTimeoutMs: number;
  /** A client has this long to send its whole request, body included. */
  readonly requestTimeoutMs: number;
  /** How often the two timeouts above are looked at. */
  readonly connectionsCheckingIntervalMs: number;
  /** An idle keep-alive connection is closed after this long. */
  readonly keepAliveTimeoutMs: number;
  /** Request line and headers together. */
  readonly maxHeaderBytes: number;
  /** Connections at once; more are closed as they come. */
  readonly maxConnections: number;
  /** Between two looks at the open answers; a stream silent for two to three of them gets a comment line. */
  readonly heartbeatIntervalMs: number;
  /** A client that reads nothing of its answer for this long is dropped, because it may hold a slot. */
  readonly stalledClientMs: number;
  /** After a refusal, how long the rest of a request is read and thrown away, so that the client sees the answer. */
  readonly lingerMs: number;
  /** After draining, how long the last bytes may take to reach their clients. */
  readonly flushMs: number;
}

/** The defaults of {@link GatewayLimits}. */
export const GATEWAY_LIMITS: GatewayLimits = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  connectionsCheckingIntervalMs: 1_000,
  keepAliveTimeoutMs: 65_000,
  maxHeaderBytes: 16_384,
  maxConnections: 8_192,
  heartbeatIntervalMs: 5_000,
  stalledClientMs: 120_000,
  lingerMs: 2_000,
  flushMs: 1_000,
};

/** Deepest nesting of a JSON body. llama-server's template engine recurses over what it is given. */
export const MAX_NESTING = 100;
