/**
 * The request routes that llamero relays to an engine: one table for the gateway and the library.
 * Everything that is not in it is not reachable through llamero.
 */

/** How the bodies of a route look, and so how a stream of it ends and how an error is written into it. */
export type Dialect = 'chat' | 'completions' | 'responses' | 'messages' | 'completion' | 'json';

/** One relayed route. */
export interface EngineRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly dialect: Dialect;
  /** Whether the engine needs a slot for it; routes without one answer from the model's vocabulary or state. */
  readonly needsSlot: boolean;
  readonly canStream: boolean;
  /** Short name for events and metrics. */
  readonly name: string;
}

/** Every relayed route, by `METHOD path`. */
export const ENGINE_ROUTES: ReadonlyMap<string, EngineRoute> = new Map(
  [
    post('/v1/chat/completions', 'chat', { slot: true, stream: true }),
    post('/v1/completions', 'completions', { slot: true, stream: true }),
    post('/v1/responses', 'responses', { slot: true, stream: true }),
    post('/v1/messages', 'messages', { slot: true, stream: true }),
    post('/v1/messages/count_tokens', 'json', {}),
    post('/v1/embeddings', 'json', { slot: true }),
    post('/completion', 'completion', { slot: true, stream: true }),
    post('/infill', 'completion', { slot: true, stream: true }),
    post('/embedding', 'json', { slot: true }),
    post('/rerank', 'json', { slot: true }),
    post('/tokenize', 'json', {}),
    post('/detokenize', 'json', {}),
    post('/apply-template', 'json', {}),
    get('/v1/models'),
    get('/props'),
    get('/slots'),
  ].map((route) => [`${route.method} ${route.path}`, route]),
);

/** The route of that method and path; throws on one that is not in the table, which is a defect of the caller. */
export function engineRoute(key: string): EngineRoute {
  const route = ENGINE_ROUTES.get(key);
  if (route === undefined) throw new Error(`no such engine route: ${key}`);
  return route;
}

function post(path: string, dialect: Dialect, has: { slot?: boolean; stream?: boolean }): EngineRoute {
  return {
    method: 'POST',
    path,
    dialect,
    needsSlot: has.slot ?? false,
    canStream: has.stream ?? false,
    name: nameOf(path),
  };
}

function get(path: string): EngineRoute {
  return { method: 'GET', path, dialect: 'json', needsSlot: false, canStream: false, name: nameOf(path) };
}

function nameOf(path: string): string {
  return path.replace(/^\/(v1\/)?/, '').replaceAll('/', '.');
}
