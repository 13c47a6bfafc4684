import { ENGINE_ROUTES, type EngineRoute } from '../core/openai/routes.ts';

/** One known path: its relayed routes by method, and whether fastify answers its other methods. */
export interface KnownPath {
  readonly get: EngineRoute | undefined;
  readonly post: EngineRoute | undefined;
  /** GET and HEAD are answered by the gateway itself. */
  readonly own: boolean;
  /** For `Allow`. */
  readonly methods: string;
  /** Served to anyone: says no more than whether the gateway is up. */
  readonly open: boolean;
}

/** Paths that the gateway answers itself, with GET. */
export const OWN_PATHS = ['/health', '/livez', '/readyz', '/admin/status', '/openapi.json'] as const;
const OPEN_PATHS: ReadonlySet<string> = new Set(['/health', '/livez', '/readyz']);
const MODEL_PREFIX = '/v1/models/';

const INDEX: ReadonlyMap<string, KnownPath> = buildIndex();
const ONE_MODEL: KnownPath = ownPath(false);

/** The path as it is known, or undefined. Paths are compared as they came: nothing is decoded or normalised. */
export function findPath(path: string): KnownPath | undefined {
  const known = INDEX.get(path);
  if (known !== undefined) return known;
  return path.startsWith(MODEL_PREFIX) && path.length > MODEL_PREFIX.length ? ONE_MODEL : undefined;
}

function buildIndex(): Map<string, KnownPath> {
  const index = new Map<string, KnownPath>(OWN_PATHS.map((path) => [path, ownPath(OPEN_PATHS.has(path))]));
  for (const { path } of ENGINE_ROUTES.values()) {
    const get = ENGINE_ROUTES.get(`GET ${path}`);
    const post = ENGINE_ROUTES.get(`POST ${path}`);
    const methods = [get === undefined ? [] : ['GET', 'HEAD'], post === undefined ? [] : ['POST'], ['OPTIONS']];
    index.set(path, { get, post, own: false, methods: methods.flat().join(', '), open: false });
  }
  return index;
}

function ownPath(open: boolean): KnownPath {
  return { get: undefined, post: undefined, own: true, methods: 'GET, HEAD, OPTIONS', open };
}
