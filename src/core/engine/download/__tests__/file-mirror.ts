import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request that the mirror saw. */
export interface SeenRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly authorization: string | undefined;
}

/** How a file of the mirror is served. */
export interface MirrorFile {
  readonly content: Buffer;
  readonly etag?: string;
  readonly headers?: Record<string, string>;
  /** The connection breaks after so many bytes of a body, as many times as there are entries. */
  readonly cutAfter?: number[];
  /** Answers with this status and nothing else. */
  readonly status?: number;
  /** Redirects there, with the headers. */
  readonly redirect?: string;
  /** The body stops after half of it until the promise is settled. */
  readonly holdUntil?: Promise<void>;
  /** Ignores `Range`. */
  readonly noRanges?: boolean;
}

/** An HTTP server with files that can be changed while it runs. */
export interface FileMirror {
  readonly url: string;
  readonly files: Map<string, MirrorFile>;
  readonly requests: SeenRequest[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a mirror on a free loopback port. */
export async function startFileMirror(files: Record<string, MirrorFile> = {}): Promise<FileMirror> {
  const byPath = new Map(Object.entries(files));
  const requests: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://mirror').pathname;
    requests.push({
      path,
      range: request.headers.range,
      ifRange: text(request.headers['if-range']),
      authorization: request.headers.authorization,
    });
    void answer(byPath.get(path), request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files: byPath,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Lower-case hex. */
export function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

async function answer(file: MirrorFile | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (file === undefined || file.status !== undefined) {
    response.writeHead(file?.status ?? 404, { ...file?.headers }).end('no');
    return;
  }
  if (file.redirect !== undefined) {
    response.writeHead(302, { location: file.redirect, ...file.headers }).end('elsewhere');
    return;
  }
  const offset = file.noRanges === true ? 0 : offsetOf(file, request);
  if (offset > 0 && offset >= file.content.length) {
    response.writeHead(416, { 'content-range': `bytes */${file.content.length}` }).end();
    return;
  }
  const end = endOf(file, request);
  const body = file.content.subarray(offset, end);
  const partial = offset > 0 || (file.noRanges !== true && /-\d+$/.test(request.headers.range ?? ''));
  response.writeHead(partial ? 206 : 200, {
    'content-length': body.length,
    ...(file.etag === undefined ? {} : { etag: file.etag }),
    ...(partial ? { 'content-range': `bytes ${offset}-${end - 1}/${file.content.length}` } : {}),
    ...file.headers,
  });
  const cut = file.cutAfter?.shift();
  if (cut !== undefined) {
    response.write(body.subarray(0, cut), () => response.destroy());
    return;
  }
  if (file.holdUntil !== undefined) {
    response.write(body.subarray(0, body.length >> 1));
    await file.holdUntil;
    response.end(body.subarray(body.length >> 1));
    return;
  }
  response.end(body);
}

function offsetOf(file: MirrorFile, request: IncomingMessage): number {
  const match = /^bytes=(\d+)-\d*$/.exec(request.headers.range ?? '');
  if (match === null) return 0;
  const condition = text(request.headers['if-range']);
  return condition === undefined || condition === file.etag ? Number(match[1]) : 0;
}

function endOf(file: MirrorFile, request: IncomingMessage): number {
  const last = file.noRanges === true ? undefined : /^bytes=\d+-(\d+)$/.exec(request.headers.range ?? '')?.[1];
  return last === undefined ? file.content.length : Math.min(Number(last) + 1, file.content.length);
}

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
