import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it came. */
export interface Delivery {
  readonly headers: IncomingHttpHeaders;
  readonly path: string;
  readonly body: string;
}

/** An HTTP server that webhooks are sent to. */
export interface WebhookReceiver extends AsyncDisposable {
  readonly url: string;
  /** All that came so far. */
  readonly deliveries: readonly Delivery[];
  /** Resolves with the first one that fulfils the condition; those of the past count. */
  received(condition: (delivery: Delivery, index: number) => boolean): Promise<Delivery>;
}

/** @param answer gives the answer to a delivery, or none at all; `index` counts from 0. Default: 204. */
export async function startWebhookReceiver(
  answer: (response: ServerResponse, index: number) => void = (response) => response.writeHead(204).end(),
): Promise<WebhookReceiver> {
  const deliveries: Delivery[] = [];
  const changes = new EventTarget();
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      deliveries.push({ headers: request.headers, path: request.url ?? '', body });
      answer(response, deliveries.length - 1);
      changes.dispatchEvent(new Event('change'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    deliveries,
    async received(condition) {
      for (;;) {
        const found = deliveries.find(condition);
        if (found !== undefined) return found;
        await once(changes, 'change');
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The function that docs/alerts.md tells receivers to verify signatures with. */
export async function documentedVerification(): Promise<
  (secret: string, signature: string | undefined, body: string, now?: number) => boolean
> {
  const text = readFileSync(new URL('../../../../docs/alerts.md', import.meta.url), 'utf8');
  const [, code = ''] = /```js\n([^]*?)```/.exec(text) ?? [];
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as Record<string, unknown>;
  return module['isFromLlamero'] as Awaited<ReturnType<typeof documentedVerification>>;
}
