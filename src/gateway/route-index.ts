import { ENGINE_ROUTES, type EngineRoute } from '../core/openai/routes.ts';

/** One known path: its relayed routes by method, and whether fastify answers its other methods. */
export interface KnownPath {
  /** For metrics: the path without `/v1/`, with dots, and without what differs from request to request. */
  readonly name: string;
  readonly get: EngineRoute | undefined;
  readonly post: EngineRoute | undefined;
  /** GET and HEAD are answered by the gateway itself. */
  readonly own: boolean;
  /** POST is answered by the gateway itself. */
  readonly ownPost: boolean;
  /** Does something to the running server, or shows more of it than its state: see `refuseAdmin`. */
  readonly admin: boolean;
  /** For `Allow`. */
  readonly methods: string;
  /** Served to anyone: says no more than whether the gateway is up. */
  readonly open: boolean;
}

/** Paths that the gateway answers itself, with GET. */
export const OWN_PATHS = ['/health', '/livez', '/readyz', '/metrics', '/admin/status', '/openapi.json'] as const;
/** Paths of the gateway's own that need the right to administer from other machines, with their method. */
export const ADMIN_PATHS = {
  '/admin/debug/heap-snapshot': 'POST',
  '/admin/debug/cpu-profile': 'POST',
  '/admin/debug/log': 'GET',
} as const satisfies Record<string, 'GET' | 'POST'>;
const OPEN_PATHS: ReadonlySet<string> = new Set(['/health', '/livez', '/readyz']);
const MODEL_PREFIX = '/v1/models/';
/** A planned restart of one engine. */
const ENGINE_RESTART = /^\/admin\/engines\/[^/]+\/restart$/;
/** What comes before the id in the path of a stream that its client comes back to. */
export const STREAM_PREFIX = '/v1/streams/';

const NOTHING: KnownPath = {
  name: '',
  get: undefined,
  post: undefined,
  own: false,
  ownPost: false,
  admin: false,
  methods: 'OPTIONS',
  open: false,
};
const INDEX: ReadonlyMap<string, KnownPath> = buildIndex();
const ONE_MODEL: KnownPath = ownPath('models', false);
const ONE_RESTART: KnownPath = adminPath('admin.engines.restart', 'POST');
/** The path of one stream, which the front door answers. */
export const ONE_STREAM: KnownPath = { ...NOTHING, name: 'streams', methods: 'GET, DELETE, OPTIONS' };

/** The path as it is known, or undefined. Paths are compared as they came: nothing is decoded or normalised. */
export function findPath(path: string): KnownPath | undefined {
  const known = INDEX.get(path);
  if (known !== undefined) return known;
  if (path.startsWith(MODEL_PREFIX) && path.length > MODEL_PREFIX.length) return ONE_MODEL;
  if (path.startsWith('/admin/') && ENGINE_RESTART.test(path)) return ONE_RESTART;
  return path.startsWith(STREAM_PREFIX) && path.length > STREAM_PREFIX.length ? ONE_STREAM : undefined;
}

function buildIndex(): Map<string, KnownPath> {
  const index = new Map<string, KnownPath>(
    OWN_PATHS.map((path) => [path, ownPath(nameOf(path), OPEN_PATHS.has(path))]),
  );
  for (const [path, method] of Object.entries(ADMIN_PATHS)) index.set(path, adminPath(nameOf(path), method));
  for (const { path, name } of ENGINE_ROUTES.values()) {
    const get = ENGINE_ROUTES.get(`GET ${path}`);
    const post = ENGINE_ROUTES.get(`POST ${path}`);
    const methods = [get === undefined ? [] : ['GET', 'HEAD'], post === undefined ? [] : ['POST'], ['OPTIONS']];
    index.set(path, { ...NOTHING, name, get, post, methods: methods.flat().join(', ') });
  }
  return index;
}

function ownPath(name: string, open: boolean): KnownPath {
  return { ...NOTHING, name, own: true, methods: 'GET, HEAD, OPTIONS', open };
}

function adminPath(name: string, method: 'GET' | 'POST'): KnownPath {
  if (method === 'GET') return { ...ownPath(name, false), admin: true };
  return { ...NOTHING, name, ownPost: true, admin: true, methods: 'POST, OPTIONS' };
}

function nameOf(path: string): string {
  return path.slice(1).replaceAll('/', '.');
}
