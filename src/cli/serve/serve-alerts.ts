import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from '../../core/config.ts';
import { LlameroError } from '../../core/errors.ts';
import type { AlertChange } from '../../core/events.ts';
import type { GatewayAlerts } from '../../gateway/backend.ts';
import type { AlertSource } from '../../telemetry/alerts/alert-signals.ts';
import type { AlertWatch } from '../../telemetry/alerts/watch-alerts.ts';
import type { WebhookSender } from '../../telemetry/alerts/webhook-sender.ts';

/** What {@link ServeAlerts.start} needs. */
export interface ServeAlertsContext {
  readonly provider: AlertSource;
  readonly logger: Logger;
  /** Port of the gateway: with the name of the machine it tells this llamero from others. */
  readonly port: number;
}

/** The alerts of `llamero serve`. */
export interface ServeAlerts extends GatewayAlerts {
  /** Begins to look for alerts, and to send them where a webhook is configured. */
  start(context: ServeAlertsContext): Promise<void>;
  /** Looks no more; what has not been sent is tried once more, within a second. Never rejects. */
  stop(): Promise<void>;
}

/**
 * Alerts as configured; nothing is looked for before {@link ServeAlerts.start}.
 * @throws LlameroError `invalid_options` when there is no secret in the file that is named for it.
 */
export function serveAlerts({ alerts: config }: Config, env: NodeJS.ProcessEnv): ServeAlerts {
  const secret = config.webhook.url === null ? null : readSecret(config, env);
  let watch: AlertWatch | null = null;
  let webhook: { readonly sender: WebhookSender; close(): Promise<void> } | null = null;
  return {
    status() {
      if (watch === null) return null;
      const report = watch.report();
      const of = (wanted: string) => report.filter(({ state }) => state === wanted);
      const sent = webhook?.sender.status() ?? null;
      return { firing: of('firing'), pending: of('pending'), resolved: of('resolved'), webhook: sent };
    },
    async start({ provider, logger, port }) {
      if (!config.enabled) return;
      webhook = await openWebhook(config.webhook, secret, logger, env);
      const instance = `${hostname()}:${port}`;
      provider.events.on('alert', (change) => {
        if (isNews(change)) webhook?.sender.send(webhookMessage(change, instance));
      });
      // Loaded here because it would delay whoever wants to listen.
      const { watchAlerts } = await import('../../telemetry/alerts/watch-alerts.ts');
      const { interval, rules, runbook } = config;
      watch = watchAlerts(provider, { intervalMs: interval, rules, runbook });
    },
    async stop() {
      watch?.stop();
      await webhook?.close();
    },
  };
}

/** What is sent; see docs/alerts.md. */
export function webhookMessage(change: AlertChange, instance: string): Record<string, unknown> {
  const { name, ...fields } = change;
  return { alert: name, ...fields, instance };
}

/** What is pending may never fire: only whoever looks is told of it. */
function isNews({ state }: AlertChange): boolean {
  return state === 'firing' || state === 'resolved';
}

async function openWebhook(
  config: Config['alerts']['webhook'],
  secret: string | null,
  logger: Logger,
  env: NodeJS.ProcessEnv,
): Promise<{ sender: WebhookSender; close(): Promise<void> } | null> {
  const { url } = config;
  if (url === null) return null;
  if (secret === null) logger.warn('alerts are sent without a signature: there is no alerts.webhook.secretFile');
  // Both load undici, which who has no webhook does not wait for.
  const [{ WebhookSender: Sender }, { createHttpClient }] = await Promise.all([
    import('../../telemetry/alerts/webhook-sender.ts'),
    import('../../core/engine/download/http-client.ts'),
  ]);
  const client = createHttpClient({ env, connectMs: config.timeout, idleMs: config.timeout });
  const sender = new Sender({
    url,
    secret,
    timeoutMs: config.timeout,
    retryDelayMs: config.retryDelay,
    maxDelayMs: config.maxDelay,
    deadlineMs: config.deadline,
    maxQueue: config.maxQueue,
    dispatcher: client.dispatcher,
    onReport: ({ ok, message }) => logger[ok ? 'info' : 'warn'](message),
  });
  const close = async () => {
    await sender.stop();
    await client[Symbol.asyncDispose]();
  };
  return { sender, close };
}

function readSecret({ webhook: { secretFile } }: Config['alerts'], env: NodeJS.ProcessEnv): string | null {
  const given = env['LLAMERO_ALERTS_WEBHOOK_SECRET'];
  if (given !== undefined && given !== '') return given;
  if (secretFile === null) return null;
  const param = 'alerts.webhook.secretFile';
  let secret: string;
  try {
    secret = readFileSync(secretFile, 'utf8').trim();
  } catch (error) {
    throw new LlameroError('invalid_options', `${param}: cannot read ${secretFile}`, { param, cause: error });
  }
  if (secret === '') throw new LlameroError('invalid_options', `${param}: ${secretFile} is empty`, { param });
  return secret;
}
