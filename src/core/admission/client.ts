/** What a client is identified by, most trusted first; each pool has its own limits. */
export const CLIENT_POOLS = ['user', 'session', 'ip', 'anonymous'] as const;
/** See {@link CLIENT_POOLS}. */
export type ClientPool = (typeof CLIENT_POOLS)[number];

/** Classes of requests, most urgent first. */
export const PRIORITY_CLASSES = ['interactive', 'default', 'batch'] as const;
/** See {@link PRIORITY_CLASSES}. */
export type PriorityClass = (typeof PRIORITY_CLASSES)[number];

/** What one client may use. null: no limit. */
export interface ClientLimits {
  readonly requestsPerMinute: number | null;
  readonly requestsPerHour: number | null;
  /** Prompt and completion tokens together. */
  readonly tokensPerMinute: number | null;
  /** Prompt and completion tokens together. */
  readonly tokensPerDay: number | null;
  /** Requests in flight at once, waiting ones included. */
  readonly maxConcurrent: number | null;
}

/** Somebody who sends requests, as all of admission knows him. */
export interface Client {
  readonly pool: ClientPool;
  /** Identity of all state that is kept of him: `pool:kind:id`, at most 200 characters. Never shown as it is. */
  readonly key: string;
  /** Share of the engine beside other clients; 1 is everybody's. */
  readonly weight: number;
  readonly priority: PriorityClass;
  /** Limits of his own, which replace those of his pool. */
  readonly limits: Partial<ClientLimits>;
}

/** Who calls the library without saying who he is. */
export const ANONYMOUS: Client = {
  pool: 'anonymous',
  key: 'anonymous:',
  weight: 1,
  priority: 'default',
  limits: {},
};
