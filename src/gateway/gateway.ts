import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { SessionRoll } from '../core/admission/session-roll.ts';
import { parseTrustedProxies, type TrustedProxies } from '../core/admission/trusted-proxies.ts';
import { type Config, isProduction, parseConfig } from '../core/config.ts';
import { LlameroError } from '../core/errors.ts';
import { continuationRules } from '../core/openai/continuation/plan-stream.ts';
import type { Diagnostics } from '../telemetry/diagnostics.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { hostNameOf, type KeyVerifier } from './access.ts';
import { AnswerKeeper } from './answer-keeper.ts';
import type { GatewayAlerts, GatewayBackend, GatewayMetrics } from './backend.ts';
import { createFrontDoor } from './front-door.ts';
import { metricsOfProvider } from './gateway-metrics.ts';
import { createHttpServer, type GatewayServer, type RequestHandler } from './http-server.ts';
import { type KeyFileReport, KeyRing } from './key-ring.ts';
import { GATEWAY_LIMITS, type GatewayLimits } from './limits.ts';
import { loadOwnRoutes, type OwnRoutes } from './own-routes.ts';
import type { RelayContext } from './relay-context.ts';
import { ResumableStreams } from './resumable-streams.ts';
import { StreamPacer } from './stream-pacer.ts';
import { tellRefusal } from './tell-refusal.ts';

const MEGABYTE = 1024 * 1024;

/** Options of {@link createGateway}. */
export interface GatewayOptions {
  /** What answers the requests: a `LlamaCppProvider`. The gateway neither starts nor stops it. */
  provider: GatewayBackend;
  /** Default: the provider's own. */
  config?: Config;
  /** Told when the API key file was read again, or could not be. */
  onKeyFile?: (report: KeyFileReport) => void;
  /**
   * Answers `/metrics`. Default: metrics of the provider, from now on; null: there is no such route. The gateway does not stop
   * what it was given.
   */
  metrics?: GatewayMetrics | null;
  /** Shown in `/admin/status`. Default: there is nothing about alerts in it. */
  alerts?: GatewayAlerts;
  /** Answers `/admin/debug/*`. Default: there are no such routes. */
  diagnostics?: Diagnostics;
  /** Overrides of the limits that are no configuration keys. */
  limits?: Partial<GatewayLimits>;
}

/** Where a gateway listens. */
export interface GatewayAddress {
  host: string;
  port: number;
  /** Base address for clients, without a trailing slash; a wildcard address is given as its loopback. */
  url: string;
}

/** HTTP in front of a provider. */
export interface Gateway extends AsyncDisposable {
  /**
   * Reads the key file and listens. May be called again after it failed, with another port.
   * @param override.port Instead of the configured one; 0 asks for any free port.
   * @throws LlameroError `invalid_options` if the key file is unusable or the address cannot be bound; the system's
   *   reason is in `details.reason`, for example `EADDRINUSE`.
   */
  listen(override?: { port?: number }): Promise<GatewayAddress>;
  /**
   * Accepts nothing more, lets running requests finish for `timeoutMs`, then ends the rest with `engine_unavailable`
   * (as an error answer, or as an error event in a stream) and closes everything.
   */
  drain(options: { timeoutMs: number }): Promise<void>;
  /** Ends at once: {@link drain} without the waiting. Idempotent. */
  stop(): Promise<void>;
}

/**
 * A gateway; nothing listens before {@link Gateway.listen}.
 * @throws LlameroError `invalid_options` if `gateway.trustedProxies` holds something else than addresses and ranges.
 */
export function createGateway(options: GatewayOptions): Gateway {
  return new HttpGateway(options);
}

class HttpGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #config: Config;
  readonly #limits: GatewayLimits;
  readonly #context: RelayContext;
  readonly #server: GatewayServer;
  readonly #trustedProxies: TrustedProxies;
  /** Those that the gateway made itself. */
  readonly #ownMetrics: Metrics | null;
  readonly #startedAtMs = Date.now();
  #handle: RequestHandler | null = null;
  #ownRoutes: Promise<OwnRoutes> | null = null;
  #keys: KeyRing | null = null;
  #address: GatewayAddress | null = null;
  #draining: Promise<void> | null = null;
  #hideBodies: (() => void) | undefined;
  /** Ends the waiting of a drain early. */
  #hurry = new AbortController();

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#config = options.config ?? options.provider.config ?? parseConfig({});
    this.#limits = { ...GATEWAY_LIMITS, ...options.limits };
    this.#trustedProxies = parseTrustedProxies(this.#config.gateway.trustedProxies);
    this.#ownMetrics = options.metrics === undefined ? metricsOfProvider(options.provider, this.#config) : null;
    this.#context = relayContext(options.provider, this.#config, this.#limits);
    this.#server = createHttpServer(
      this.#limits,
      (request, response, askFirst) => this.#handle?.(request, response, askFirst),
      (refusal) => tellRefusal(options.provider, refusal),
    );
  }

  async listen(override: { port?: number } = {}): Promise<GatewayAddress> {
    const { host, apiKeyFile } = this.#config.gateway;
    const configured = this.#config.gateway.port;
    if (apiKeyFile !== null) {
      this.#keys ??= await KeyRing.open(apiKeyFile, { onReload: this.#options.onKeyFile });
    }
    this.#handle = this.#frontDoor(this.#keys, host);
    this.#server.listen({ host, port: override.port ?? (configured === 'auto' ? 0 : configured) });
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      throw cannotBind(error, host, override.port ?? configured);
    }
    this.#hideBodies ??= (this.#ownMetrics ?? this.#options.metrics)?.showBodies?.(this.#context);
    // Ready before the first health check in all likelihood, without holding up the listening.
    void this.#loadOwnRoutes();
    const { port, address, family } = this.#server.address() as AddressInfo;
    this.#address = { host: address, port, url: `http://${urlHost(address, family)}:${port}` };
    return this.#address;
  }

  drain({ timeoutMs }: { timeoutMs: number }): Promise<void> {
    if (timeoutMs <= 0) this.#hurry.abort();
    this.#draining ??= this.#shutDown(timeoutMs);
    return this.#draining;
  }

  stop(): Promise<void> {
    return this.drain({ timeoutMs: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #shutDown(timeoutMs: number): Promise<void> {
    const context = this.#context;
    const reason = new LlameroError('engine_unavailable', 'llamero is shutting down.', { retryAfterMs: 1000 });
    context.closing = reason;
    context.resumables.close(reason);
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve();
    this.#server.close();
    this.#server.closeIdleConnections();
    await this.#idle(timeoutMs);
    for (const relay of context.answers.list()) relay.shutDown(reason);
    // Each connection closes when its last bytes have left; who does not take them is cut off.
    const force = setTimeout(() => this.#server.closeAllConnections(), this.#limits.flushMs);
    await closed;
    clearTimeout(force);
    context.answers.stop();
    this.#hideBodies?.();
    this.#ownMetrics?.stop();
    await this.#keys?.stop();
    await this.#ownRoutes?.then((own) => own.close());
  }

  /** Resolves when no request runs any more, after `timeoutMs`, or when somebody is in a hurry. */
  async #idle(timeoutMs: number): Promise<void> {
    const { signal } = this.#hurry;
    if (this.#context.running === 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      signal.addEventListener('abort', done, { once: true });
      this.#context.onIdle = done;
    });
    this.#context.onIdle = null;
  }

  #frontDoor(keys: KeyVerifier | null, host: string): RequestHandler {
    const hostNames = new Set([hostname().toLowerCase(), hostNameOf(host)]);
    const { corsOrigins } = this.#config.gateway;
    const sessions = new SessionRoll({ maxAgeMs: this.#config.cleanup.maxAge });
    const rules = { keys, corsOrigins, hostNames, trustedProxies: this.#trustedProxies, sessions };
    return createFrontDoor(this.#context, rules, (request, response) => {
      void this.#loadOwnRoutes().then((own) => own.handle(request, response));
    });
  }

  #loadOwnRoutes(): Promise<OwnRoutes> {
    const metrics = this.#ownMetrics ?? this.#options.metrics ?? null;
    this.#ownRoutes ??= loadOwnRoutes(
      ownContext(this.#options, metrics, this.#context, () => this.#status()),
      this.#server,
    );
    return this.#ownRoutes;
  }

  #status(): Record<string, unknown> {
    const { closing, running, answers, resumables } = this.#context;
    return {
      url: this.#address?.url ?? null,
      draining: closing !== null,
      uptimeMs: Date.now() - this.#startedAtMs,
      requests: running,
      openAnswers: answers.size,
      resumableStreams: { held: resumables.size, bufferedBytes: resumables.bufferedBytes },
      apiKeys: this.#keys?.size ?? null,
    };
  }
}

function relayContext(provider: GatewayBackend, config: Config, limits: GatewayLimits): RelayContext {
  return {
    backend: provider,
    limits,
    bodyLimitBytes: config.gateway.bodyLimit,
    heldBodiesLimitBytes: Math.max(2 * config.gateway.bodyLimit, (config.memoryLimit * MEGABYTE) / 4),
    heldBodiesBytes: 0,
    allowRemoteMedia: config.gateway.allowRemoteMedia,
    continuation: continuationRules(config),
    timeoutMs: isProduction(config) ? config.requestTimeout : null,
    streamTimeoutMs: config.timeouts.total,
    answers: new AnswerKeeper(limits.heartbeatIntervalMs),
    pacer: new StreamPacer(),
    resumables: new ResumableStreams(config.streamResume),
    running: 0,
    closing: null,
    onIdle: null,
  };
}

function ownContext(
  options: GatewayOptions,
  metrics: GatewayMetrics | null,
  context: RelayContext,
  gatewayStatus: () => Record<string, unknown>,
) {
  return {
    backend: options.provider,
    alerts: options.alerts ?? null,
    metrics,
    diagnostics: options.diagnostics ?? null,
    get closing() {
      return context.closing;
    },
    gatewayStatus,
  };
}

function urlHost(address: string, family: string): string {
  if (address === '0.0.0.0') return '127.0.0.1';
  if (address === '::') return '[::1]';
  return family === 'IPv6' ? `[${address}]` : address;
}

function cannotBind(error: unknown, host: string, port: number | string): LlameroError {
  const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  const why = reason === 'EADDRINUSE' ? 'the port is taken' : reason;
  return new LlameroError('invalid_options', `Cannot listen on ${host}, port ${port}: ${why}.`, {
    param: 'gateway.port',
    details: { reason },
    cause: error,
  });
}
