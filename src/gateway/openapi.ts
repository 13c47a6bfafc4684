import { PRIORITY_CLASSES } from '../core/admission/client.ts';
import { ERROR_CODES, type ErrorCode } from '../core/errors.ts';
import { ENGINE_ROUTES, type EngineRoute } from '../core/openai/routes.ts';
import { ENGINE_ID } from './engine-routes.ts';
import { packageVersion } from './package-version.ts';
import { STREAM_PREFIX } from './route-index.ts';

/** The OpenAPI 3.1 description of the gateway, made from the route table and the table of error codes. */

type Json = Record<string, unknown>;

const DIALECTS: Readonly<Record<EngineRoute['dialect'], string>> = {
  chat: 'OpenAI Chat Completions',
  completions: 'OpenAI Completions',
  responses: 'OpenAI Responses',
  messages: 'Anthropic Messages',
  completion: 'llama.cpp completion',
  json: 'JSON',
};

const OPEN: readonly Json[] = [];
let made: Json | null = null;

/** The document; made once. */
export function openApiDocument(): Json {
  made ??= {
    openapi: '3.1.0',
    info: {
      title: 'llamero',
      version: packageVersion(),
      description:
        'An OpenAI-compatible gateway in front of a supervised llama-server. Bodies pass through unchanged; their ' +
        'fields are those of the named API as llama-server understands them.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    security: [{ bearer: [] }, { apiKey: [] }],
    paths: paths(),
    components: components(),
  };
  return made;
}

function paths(): Json {
  const all: Record<string, Json> = {};
  for (const route of ENGINE_ROUTES.values()) {
    (all[route.path] ??= {})[route.method.toLowerCase()] = relayed(route);
  }
  all['/v1/models/{id}'] = {
    get: operation('model', 'One model of the list', {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }, ...REQUEST_HEADERS],
      responses: { '200': json('The model'), ...failures('model_not_found') },
    }),
  };
  const healthy = { '200': json('Requests may flow'), '503': { $ref: '#/components/responses/NotReady' } };
  all['/health'] = { get: operation('health', 'Whether requests may flow', { security: OPEN, responses: healthy }) };
  all['/readyz'] = { get: operation('readyz', 'The same as /health', { security: OPEN, responses: healthy }) };
  all['/livez'] = {
    get: operation('livez', 'Whether the process answers', { security: OPEN, responses: { '200': json('It does') } }),
  };
  all['/admin/status'] = {
    get: operation('admin.status', 'State of gateway, engine and alerts', {
      responses: { '200': json('The state'), ...failures() },
    }),
  };
  addDebugPaths(all);
  addStreamPath(all);
  all['/admin/engines/{id}/restart'] = {
    post: operation('engine.restart', 'Replace the engine by a fresh one without losing a request', {
      parameters: [
        { name: 'id', in: 'path', required: true, schema: { enum: [ENGINE_ID] } },
        { name: 'wait', in: 'query', required: false, schema: { type: 'boolean', default: true } },
      ],
      responses: {
        '200': json(
          'The new engine takes requests: `generation.from`, `generation.to`, `overlap`, `slotsRestored`, `durationMs`',
        ),
        '202': json('It is under way; only with `wait=false`'),
        ...failures(),
      },
    }),
  };
  all['/metrics'] = {
    get: operation('metrics', "Metrics in Prometheus' text format", {
      responses: {
        '200': { description: 'The metrics', headers: RESPONSE_HEADERS, content: { 'text/plain': { schema: text } } },
        ...failures(),
      },
    }),
  };
  all['/openapi.json'] = {
    get: operation('openapi', 'This document', { responses: { '200': json('OpenAPI 3.1'), ...failures() } }),
  };
  return all;
}

/** Routes that, where there are keys, need one which may administer. */
function addDebugPaths(all: Record<string, Json>): void {
  const written = { '200': json('Name and size of the file, on the machine of the gateway'), ...failures() };
  const seconds = {
    name: 'seconds',
    in: 'query',
    required: false,
    schema: { type: 'integer', minimum: 1, maximum: 60, default: 10 },
  };
  all['/admin/debug/heap-snapshot'] = {
    post: operation('debug.heapSnapshot', 'Write a heap snapshot; everything waits meanwhile', { responses: written }),
  };
  all['/admin/debug/cpu-profile'] = {
    post: operation('debug.cpuProfile', 'Write a CPU profile', { parameters: [seconds], responses: written }),
  };
  all['/admin/debug/log'] = {
    get: operation('debug.log', 'The last lines of the log', {
      responses: { '200': json('`lines` of llamero and of its `engine`, oldest first'), ...failures() },
    }),
  };
}

function addStreamPath(all: Record<string, Json>): void {
  const id = { name: 'id', in: 'path', required: true, schema: text };
  all[`${STREAM_PREFIX}{id}`] = {
    get: operation('stream', 'The rest of a stream whose connection broke, then what comes', {
      parameters: [
        id,
        header('X-Stream-Offset', OFFSET, { type: 'integer', minimum: 0, default: 0 }),
        header('Last-Event-ID', 'Id of the last event that was received; counts more than an offset.'),
        { name: 'offset', in: 'query', required: false, description: OFFSET, schema: { type: 'integer', minimum: 0 } },
      ],
      responses: {
        '200': {
          description: 'The rest',
          headers: RESPONSE_HEADERS,
          content: { 'text/event-stream': { schema: text } },
        },
        '204': { description: 'The stream is over, and the client has all of it' },
        ...failures(),
      },
    }),
    delete: operation('stream.end', 'End a stream that nobody wants any more', {
      parameters: [id],
      responses: { '204': { description: 'It has ended' }, ...failures() },
    }),
  };
}

function relayed(route: EngineRoute): Json {
  const ok: Json = {
    description: `The engine's answer${route.canStream ? ', or a stream if the body has "stream": true' : ''}`,
    headers: RESPONSE_HEADERS,
    content: {
      'application/json': { schema: true },
      ...(route.canStream ? { 'text/event-stream': { schema: { type: 'string' } } } : {}),
    },
  };
  return operation(route.name, `${DIALECTS[route.dialect]}: ${route.path}`, {
    parameters: REQUEST_HEADERS,
    ...(route.method === 'POST'
      ? { requestBody: { required: true, content: { 'application/json': { schema: { type: 'object' } } } } }
      : {}),
    responses: { '200': ok, ...failures() },
  });
}

function operation(operationId: string, summary: string, more: Json): Json {
  return { operationId, summary, ...more };
}

function json(description: string): Json {
  return { description, headers: RESPONSE_HEADERS, content: { 'application/json': { schema: { type: 'object' } } } };
}

/** One response per status, each listing the codes that come with it. */
function failures(...only: ErrorCode[]): Json {
  const byStatus = new Map<number, string[]>();
  for (const [code, { status, meaning }] of Object.entries(ERROR_CODES)) {
    if (NOT_OVER_HTTP.has(code) || (code === 'model_not_found' && !only.includes(code))) continue;
    byStatus.set(status, [...(byStatus.get(status) ?? []), `\`${code}\`: ${meaning}`]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, lines]) => [
      String(status),
      {
        description: lines.join('\n\n'),
        headers: status === 429 || status === 503 ? { ...RESPONSE_HEADERS, ...RETRY_AFTER } : RESPONSE_HEADERS,
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    ]),
  );
}

const NOT_OVER_HTTP: ReadonlySet<string> = new Set(['cancelled', 'install_failed', 'invalid_options']);
const text = { type: 'string' };

const ON_BEHALF =
  'On whose behalf the request is made; believed from trusted proxies and from API keys that may say so.';

const OFFSET = 'Bytes of the body that were received; all count.';

const REQUEST_HEADERS: readonly Json[] = [
  header('X-Request-Id', 'Up to 128 visible ASCII characters; echoed. Without one, llamero makes one.'),
  header('X-Request-Timeout', 'Whole request in ms; can only shorten the limit of the server.', {
    type: 'integer',
    minimum: 1,
  }),
  header('X-Priority', 'Class of the request; can only lower the one that the API key grants.', {
    enum: [...PRIORITY_CLASSES],
  }),
  header('X-User-Id', ON_BEHALF),
  header('X-Session-Id', 'Session of the caller, who is counted as a client of its own by it.'),
  header('X-Stream-Continuation', 'How a stream goes on whose engine is lost. Default: as configured, `fast`.', {
    enum: ['fast', 'exact', 'off'],
  }),
  header('X-Stream-Commit', 'Hold the stream back until its answer is complete, and JSON where JSON is asked for.', {
    enum: ['complete'],
  }),
  header('X-Llamero-Trace', 'Anything but `false` or `0`: the last event tells how often the stream went on.'),
  header('X-Stream-Resume', 'Keep the stream for a client that loses its connection; see /v1/streams/{id}.', {
    type: 'boolean',
    default: false,
  }),
  header('X-Stream-Id', 'With X-Stream-Resume: go on with this stream instead of beginning one; with X-Stream-Offset.'),
  header('Last-Event-ID', 'With X-Stream-Resume: go on behind this event instead of beginning a stream.'),
  header('X-Queue-Position', 'Anything but `false` or `0`: tell the place in the queue.'),
  header('traceparent', 'W3C Trace Context; handed on to the engine.'),
];

const RESPONSE_HEADERS: Json = {
  'x-stream-id': { description: 'What the client may come back with; on streams with X-Stream-Resume', schema: text },
  'x-request-id': { description: 'The id of the request', schema: text },
  'server-timing': { description: 'queue and engine, in ms; on relayed answers', schema: text },
  'x-queue-position': { description: 'The place at which the request began to wait, if asked for', schema: text },
  ratelimit: { description: 'What is left in each window, where the client has limits', schema: text },
  'ratelimit-policy': { description: 'The limits of the client', schema: text },
};
const RETRY_AFTER: Json = {
  'retry-after': { description: 'Seconds until another try makes sense', schema: { type: 'integer', minimum: 1 } },
};

function header(name: string, description: string, schema: Json = { type: 'string' }): Json {
  return { name, in: 'header', required: false, description, schema };
}

function components(): Json {
  return {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer' },
      apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
    },
    responses: {
      NotReady: {
        description: 'Not ready; `status` names the state',
        headers: RETRY_AFTER,
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
    schemas: {
      Error: {
        type: 'object',
        required: ['error'],
        properties: {
          error: {
            type: 'object',
            required: ['message', 'type', 'param', 'code'],
            properties: {
              message: text,
              type: text,
              param: { type: ['string', 'null'] },
              code: { type: 'string', enum: Object.keys(ERROR_CODES).filter((code) => !NOT_OVER_HTTP.has(code)) },
            },
          },
        },
      },
    },
  };
}
