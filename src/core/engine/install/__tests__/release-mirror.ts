import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { create } from 'tar';

/** What the mirror does to a request for the archive. */
export type ArchiveFault =
  /** Answers 404. */
  | 'missing'
  /** Sends other bytes of the same length. */
  | 'corrupted'
  /** Sends a shorter file as if it were whole. */
  | 'truncated'
  /** Breaks the connection in the middle, on the first request. */
  | 'cut-once'
  /** Breaks the connection in the middle of each request, after 100 kB. */
  | 'cut-always'
  /** Breaks the connection in the middle of the first request, and at once from then on. */
  | 'cut-then-dead'
  /** Sends half and then nothing more, on the first request. */
  | 'stalled'
  /** Answers with headers and never with a byte. */
  | 'silent'
  /** Ignores Range: sends everything again. */
  | 'no-ranges';

/** A local stand-in for GitHub's releases, with the layout of `LLAMERO_RELEASE_MIRROR`. */
export interface ReleaseMirror {
  url: string;
  /** Requests for the archive, by their Range header (empty without one). */
  archiveRequests: string[];
  fault: ArchiveFault | null;
  /** Resolves when the first archive request got half of its bytes and hangs. */
  stalled: Promise<void>;
  /** Breaks every connection, as they are now. */
  breakConnections(): void;
  close(): Promise<void>;
}

/** A script that answers like a llama-server. */
export const FAKE_ENGINE = '#!/bin/sh\necho "version: 0.5.0-dev (build 11150, commit abc1234)" >&2\n';

const BUILD = 'b11150';
const NAMES = ['ubuntu-x64', 'ubuntu-arm64', 'macos-x64', 'macos-arm64'].map(
  (variant) => `llama-${BUILD}-bin-${variant}.tar.gz`,
);

/** Packs an archive like the official ones, with `program` as its llama-server, and serves it. */
export async function startReleaseMirror(directory: string, program = FAKE_ENGINE): Promise<ReleaseMirror> {
  const archive = await packArchive(directory, program);
  const pointer = Buffer.from(`${BUILD}\n`);
  const stalled = Promise.withResolvers<void>();
  const reportStall = stalled.resolve;
  const mirror: ReleaseMirror = {
    url: '',
    archiveRequests: [],
    fault: null,
    stalled: stalled.promise,
    breakConnections: () => server.closeAllConnections(),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  const server = createServer((request, response) => {
    const base = '/ggml-org/llama.cpp/releases';
    if (request.url === `/repos${base}/tags/v0.5.0`) response.end(releaseJson([['nightly-tag.txt', pointer]]));
    else if (request.url === `${base}/download/v0.5.0/nightly-tag.txt`) response.end(pointer);
    else if (request.url === `/repos${base}/tags/${BUILD}`)
      response.end(releaseJson(NAMES.map((name) => [name, archive])));
    else if (request.url?.startsWith(`${base}/download/${BUILD}/`)) {
      mirror.archiveRequests.push(request.headers.range ?? '');
      sendArchive(request, response, { archive, mirror, reportStall });
    } else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  mirror.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return mirror;
}

function sendArchive(
  request: IncomingMessage,
  response: ServerResponse,
  { archive, mirror, reportStall }: { archive: Buffer; mirror: ReleaseMirror; reportStall: () => void },
): void {
  const half = Math.floor(archive.length / 2);
  switch (mirror.fault) {
    case 'missing':
      response.writeHead(404).end();
      return;
    case 'corrupted': {
      const other = Buffer.from(archive);
      other[half] = (other[half] ?? 0) ^ 0xff;
      response.end(other);
      return;
    }
    case 'truncated':
      response.end(archive.subarray(0, half));
      return;
    case 'no-ranges':
      response.end(archive);
      return;
    default:
      sendRange(request, response, { archive, mirror, reportStall });
  }
}

function sendRange(
  request: IncomingMessage,
  response: ServerResponse,
  { archive, mirror, reportStall }: { archive: Buffer; mirror: ReleaseMirror; reportStall: () => void },
): void {
  if (mirror.fault === 'cut-then-dead' && mirror.archiveRequests.length > 1) {
    response.destroy();
    return;
  }
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const body = archive.subarray(start);
  const headers = {
    'content-length': body.length,
    'content-range': `bytes ${start}-${archive.length - 1}/${archive.length}`,
  };
  response.writeHead(start > 0 ? 206 : 200, headers);
  const isFirst = mirror.archiveRequests.length === 1;
  const cut =
    mirror.fault === 'cut-always' || (isFirst && (mirror.fault === 'cut-once' || mirror.fault === 'cut-then-dead'));
  if (mirror.fault === 'silent') response.flushHeaders();
  else if (cut) response.write(body.subarray(0, 100_000), () => setImmediate(() => response.destroy()));
  else if (mirror.fault === 'stalled' && isFirst) response.write(body.subarray(0, body.length / 2), reportStall);
  else response.end(body);
}

async function packArchive(directory: string, program: string): Promise<Buffer> {
  const top = `llama-${BUILD}`;
  await mkdir(path.join(directory, top), { recursive: true });
  await writeFile(path.join(directory, top, 'llama-server'), program);
  await chmod(path.join(directory, top, 'llama-server'), 0o755);
  // Random bytes do not compress, so the archive is large enough to be cut in the middle.
  await writeFile(path.join(directory, top, 'libggml.so'), randomBytes(600_000));
  const file = path.join(directory, 'archive.tar.gz');
  await create({ file, cwd: directory, gzip: true }, [top]);
  return readFile(file);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What GitHub's API says of a release, as far as it matters. */
function releaseJson(files: [string, Buffer][]): string {
  return JSON.stringify({
    assets: files.map(([name, bytes]) => ({ name, size: bytes.length, digest: `sha256:${sha256(bytes)}` })),
  });
}
