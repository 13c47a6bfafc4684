import { createHash } from 'node:crypto';
import { sha256, startFileMirror } from '../../download/__tests__/file-mirror.ts';
import type { FileMirror } from '../../download/__tests__/file-mirror.ts';

/** A server that answers as the Hugging Face hub does for one public or private repository. */
export interface HubMirror extends AsyncDisposable {
  readonly url: string;
  readonly hub: FileMirror;
  /** Another origin, as the storage behind the hub is. */
  readonly storage: FileMirror;
}

/** The commit that `main` of the mirrored repository points to. */
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** Files up to that size stand in git itself, larger ones in LFS. */
const LFS_BYTES = 1000;

/** Starts a mirror of `repository` with `files`. `refuse`: every request gets this status. */
export async function startHubMirror(
  repository: string,
  files: Record<string, Buffer>,
  refuse?: number,
): Promise<HubMirror> {
  const hub = await startFileMirror();
  const storage = await startFileMirror();
  const json = (body: unknown) => ({
    content: Buffer.from(JSON.stringify(body)),
    headers: { 'content-type': 'application/json' },
    ...(refuse === undefined ? {} : { status: refuse }),
  });
  hub.files.set(
    `/api/models/${repository}/revision/main`,
    json({ _id: '1', id: repository, sha: COMMIT, lastModified: 0 }),
  );
  hub.files.set(
    `/api/models/${repository}/tree/${COMMIT}`,
    json(Object.entries(files).map(([path, content]) => entry(path, content))),
  );
  for (const [path, content] of Object.entries(files)) {
    const digest = sha256(content);
    storage.files.set(`/storage/${digest}`, { content, etag: `"${digest.slice(0, 32)}"` });
    hub.files.set(`/${repository}/resolve/${COMMIT}/${path}`, {
      content,
      redirect: `${storage.url}/storage/${digest}`,
      headers: { 'x-linked-etag': `"${digest}"`, 'x-linked-size': String(content.length), 'x-repo-commit': COMMIT },
    });
  }
  return {
    url: hub.url,
    hub,
    storage,
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await storage[Symbol.asyncDispose]();
    },
  };
}

function entry(path: string, content: Buffer): object {
  const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
  const base = { type: 'file', path, oid, size: content.length };
  return content.length <= LFS_BYTES
    ? base
    : { ...base, lfs: { oid: sha256(content), size: content.length, pointerSize: 135 } };
}
