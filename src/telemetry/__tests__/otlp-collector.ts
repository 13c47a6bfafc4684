import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bytesOf, type Message, messages, numberOf, readMessage } from './protobuf-reader.ts';

/** A value of an attribute. */
export type AttributeValue = string | boolean | number;

/** A span as it came over the wire. Numbers of fields as in `opentelemetry/proto/trace/v1/trace.proto`. */
export interface ReceivedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentId: string;
  readonly traceState: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  /** ns since 1970. */
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly events: readonly { name: string; at: bigint; attributes: Readonly<Record<string, AttributeValue>> }[];
  /** 0 unset, 1 ok, 2 error. */
  readonly status: { code: number; message: string };
  readonly resource: Readonly<Record<string, AttributeValue>>;
}

/** How a collector answers. */
export type CollectorBehaviour = 'takes' | 'refuses' | 'hangs';

/** A collector of traces that understands OTLP over HTTP with protobuf, and nothing else. */
export class OtlpCollector implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  /** Posts so far, and their heads. */
  readonly posts: { path: string; contentType: string; headers: IncomingMessage['headers'] }[] = [];
  behaviour: CollectorBehaviour = 'takes';
  readonly #server = createServer((request, response) => void this.#take(request, response));
  readonly #changes = new EventTarget();

  static async start(): Promise<OtlpCollector> {
    const collector = new OtlpCollector();
    collector.#server.listen(0, '127.0.0.1');
    await once(collector.#server, 'listening');
    return collector;
  }

  /** The base address, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get endpoint(): string {
    return `${this.url}/v1/traces`;
  }

  /** The first span with that name (and of that trace) that has come or will come. */
  async span(name: string, traceId?: string): Promise<ReceivedSpan> {
    const found = () => this.spans.find((span) => span.name === name && (traceId ?? span.traceId) === span.traceId);
    await this.until(() => found() !== undefined);
    return found() as ReceivedSpan;
  }

  /** The spans below that one, in order of their beginning. */
  childrenOf({ spanId }: ReceivedSpan): ReceivedSpan[] {
    return this.spans.filter(({ parentId }) => parentId === spanId).sort((a, b) => Number(a.start - b.start));
  }

  /** Waits for posts until it holds. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await once(this.#changes, 'post');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { url = '', headers } = request;
    this.posts.push({ path: url, contentType: headers['content-type'] ?? '', headers });
    if (this.behaviour === 'takes') {
      this.spans.push(...spansOf(Buffer.concat(chunks)));
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    } else if (this.behaviour === 'refuses') response.writeHead(400).end();
    this.#changes.dispatchEvent(new Event('post'));
  }
}

/** Every span of an `ExportTraceServiceRequest`. */
function spansOf(body: Buffer): ReceivedSpan[] {
  return messages(readMessage(body), 1).flatMap((resourceSpans) => {
    const resource = messages(resourceSpans, 1).map((message) => attributesOf(message, 1))[0] ?? {};
    const scopes = messages(resourceSpans, 2);
    return scopes.flatMap((scope) => messages(scope, 2).map((span) => spanOf(span, resource)));
  });
}

function spanOf(span: Message, resource: ReceivedSpan['resource']): ReceivedSpan {
  const status = messages(span, 15)[0];
  return {
    traceId: bytesOf(span, 1).toString('hex'),
    spanId: bytesOf(span, 2).toString('hex'),
    traceState: bytesOf(span, 3).toString(),
    parentId: bytesOf(span, 4).toString('hex'),
    name: bytesOf(span, 5).toString(),
    kind: Number(numberOf(span, 6)),
    start: numberOf(span, 7),
    end: numberOf(span, 8),
    attributes: attributesOf(span, 9),
    events: messages(span, 11).map((event) => ({
      at: numberOf(event, 1),
      name: bytesOf(event, 2).toString(),
      attributes: attributesOf(event, 3),
    })),
    status:
      status === undefined
        ? { code: 0, message: '' }
        : { message: bytesOf(status, 2).toString(), code: Number(numberOf(status, 3)) },
    resource,
  };
}

function attributesOf(message: Message, field: number): Record<string, AttributeValue> {
  return Object.fromEntries(
    messages(message, field).map((pair) => [
      bytesOf(pair, 1).toString(),
      valueOf(messages(pair, 2)[0] ?? new Map<number, never[]>()),
    ]),
  );
}

/** An `AnyValue`: text, truth, whole number or double. */
function valueOf(value: Message): AttributeValue {
  if (value.has(2)) return numberOf(value, 2) === 1n;
  if (value.has(3)) return Number(BigInt.asIntN(64, numberOf(value, 3)));
  if (value.has(4)) {
    const bits = Buffer.alloc(8);
    bits.writeBigUInt64LE(numberOf(value, 4));
    return bits.readDoubleLE();
  }
  return bytesOf(value, 1).toString();
}
