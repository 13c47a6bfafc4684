import { Writable } from 'node:stream';
import type { Logger } from 'pino';
import type { Config } from '../../core/config.ts';
import { describeVersion } from '../../core/engine/install/engine-version.ts';
import { LlameroError, toLlameroError } from '../../core/errors.ts';
import { LlamaCppProvider } from '../../core/llm/llama-cpp-provider.ts';
import { isLoopback } from '../../gateway/access.ts';
import { createGateway, type GatewayAddress } from '../../gateway/gateway.ts';
import type { KeyFileReport } from '../../gateway/key-ring.ts';
import type { Configuration } from '../configuration.ts';
import type { Log } from '../logging.ts';
import type { ProgressDisplay } from '../progress.ts';
import { type Announcement, announcementText, curlLine } from './announcement.ts';
import { builtInModel } from './built-in-model.ts';
import { exportTraces } from './export-traces.ts';
import { listen } from './listen.ts';
import { traceRequests } from './request-tracer.ts';
import { listenForReload } from './reload-signal.ts';
import { serveAlerts } from './serve-alerts.ts';
import { serveDiagnostics } from './serve-diagnostics.ts';
import { serveMetrics } from './serve-metrics.ts';
import { listenForShutdown } from './shutdown-signals.ts';

/** Something that keeps the process alive after everything was stopped must not keep a service manager waiting, in ms. */
const EXIT_GRACE_MS = 2000;

/**
 * Runs engine and gateway until a signal comes. The gateway listens at once; requests that come before the engine is
 * ready wait for it within their own limits.
 * @param read reads the configuration again, for SIGHUP.
 * @throws LlameroError when the address cannot be bound, or when the engine cannot start and trying again is pointless.
 */
export async function runServer(
  configuration: Configuration,
  env: NodeJS.ProcessEnv,
  read: () => Configuration,
): Promise<void> {
  using signals = listenForShutdown();
  using debugging = serveDiagnostics(env);
  const debug = env['LLAMA_DEBUG'] === 'true';
  const builtIn = configuration.config.model === null && configuration.config.engineUrl === null;
  const config = builtIn ? { ...configuration.config, model: await builtInModel(env) } : configuration.config;
  let log: Log | undefined;
  let progress: ProgressDisplay | null = null;
  const alerts = serveAlerts(config, env);
  const traces = await exportTraces(config, ({ ok, message }) => log?.logger[ok ? 'info' : 'warn'](message));
  const provider = new LlamaCppProvider(config, {
    env,
    tracing: traces?.tracing,
    onProgress: (report) => progress?.update(report),
  });
  // It takes a while to load: early only where the store of the rate limits may have news, or every request is traced.
  if (debug || config.rateLimit.store !== null) log = await openLog(config, provider, debug);
  const gateway = createGateway({
    provider: debug && log !== undefined ? traceRequests(provider, log.logger) : provider,
    config,
    onKeyFile: (report) => log && logKeyFile(log.logger, report),
    metrics: serveMetrics(provider, config, env),
    diagnostics: debugging.diagnostics,
    alerts,
  });
  try {
    const { port } = config.gateway;
    const address = await listen(gateway, { port, named: configuration.origin('gateway.port') !== null });
    const opened = (log ??= await openLog(config, provider, debug));
    const { logger } = opened;
    debugging.logTo(opened, provider.events);
    warnAboutConfiguration(logger, configuration);
    if (address.port !== port && port !== 'auto' && port !== 0) {
      logger.warn(`Port ${port} is taken; listening on ${address.port} instead.`);
    }
    logger.info({ url: address.url }, 'listening');
    const onHangup = () => signals.end('SIGHUP');
    await alerts.start({ provider, logger, port: address.port });
    using _reload = listenForReload({ configuration, read, provider, logger, env, onHangup });

    progress = await preparationDisplay(opened);
    const failed = Promise.withResolvers<never>();
    // Not when `start` resolves: an engine that comes only at a later try is announced as well.
    provider.events.once('engine-ready', () => announce(opened, describe(provider, config, address, builtIn)));
    provider.start().catch((error: unknown) => {
      if (signals.received) return;
      const failure = toLlameroError(error);
      if (failure.retryAfterMs === undefined) failed.reject(finalFailure(failure));
      else logger.warn(`The engine does not start: ${failure.message} It will be tried again.`);
    });
    const signal = await Promise.race([signals.first, failed.promise]);
    logger.info({ signal }, 'shutting down; a second signal ends at once');
    await gateway.drain({ timeoutMs: config.gateway.drainTimeout });
  } finally {
    progress?.done();
    const alertsEnd = alerts.stop();
    await gateway.stop();
    await provider.stop();
    setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
    // The last spans are those of requests that the end of the provider ended.
    await Promise.all([traces?.stop(), alertsEnd]);
  }
  log.logger.info('stopped');
}

/** What the provider tells goes to the log from here on. */
async function openLog(config: Config, provider: LlamaCppProvider, debug: boolean): Promise<Log> {
  const { createLog, logEvents } = await import('../logging.ts');
  const log = await createLog({ ...config.log, terminal: process.stderr.isTTY });
  logEvents(log.logger, provider.events, { engineLog: debug });
  return log;
}

/** What the preparation failed for is told in full on this machine; over HTTP only the cause is named. */
function finalFailure(failure: LlameroError): LlameroError {
  const { cause } = failure;
  return new LlameroError('engine_unavailable', cause instanceof LlameroError ? cause.message : failure.message, {
    cause: failure,
  });
}

function describe(provider: LlamaCppProvider, config: Config, address: GatewayAddress, builtIn: boolean): Announcement {
  const { engine, facts, model } = provider.status();
  // Only the origin: the address may hold a password.
  const place = config.engineUrl === null ? '' : ` at ${new URL(config.engineUrl).origin}`;
  return {
    url: address.url,
    model: model ?? 'a model',
    engine: engine === null ? `${facts?.build}${place}` : describeVersion(engine),
    slots: facts?.slots ?? config.engine.parallel,
    contextLength: facts?.contextLength ?? config.engine.ctxSize,
    needsKey: config.gateway.apiKeyFile !== null,
    builtIn,
  };
}

/** To people on standard output, which the log leaves alone; and as one more record where the log is for machines. */
function announce({ logger, format }: Log, announcement: Announcement): void {
  process.stdout.write(announcementText(announcement));
  if (format === 'json') logger.info({ ...announcement, curl: curlLine(announcement) }, 'serving');
}

/** Progress of installing and downloading: a bar for people, records where the log is for machines. */
async function preparationDisplay({ logger, format }: Log): Promise<ProgressDisplay> {
  const { createProgressDisplay } = await import('../progress.ts');
  if (format === 'pretty') return createProgressDisplay(process.stderr);
  const lines = new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      logger.info(line.trimEnd());
      done();
    },
  });
  return createProgressDisplay(lines);
}

function warnAboutConfiguration(logger: Logger, configuration: Configuration): void {
  const { config, fileName } = configuration;
  if (fileName !== null) logger.info({ file: fileName }, 'configuration file read');
  const { host, apiKeyFile } = config.gateway;
  if (apiKeyFile === null && host !== 'localhost' && !isLoopback(host)) {
    logger.warn(
      `Listening on ${host} without API keys: only callers on this machine are answered. ` +
        'Make a key with `llamero keys add` and name its file with --api-key-file.',
    );
  }
}

function logKeyFile(logger: Logger, report: KeyFileReport): void {
  if ('keys' in report) logger.info({ keys: report.keys }, 'API keys read again');
  else logger.warn({ keysKept: report.keysKept }, `API keys not read again: ${report.error.message}`);
}
