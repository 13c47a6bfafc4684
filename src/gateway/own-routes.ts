import type { Server } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { LlameroError, toLlameroError } from '../core/errors.ts';
import { errorBody, errorObject } from '../core/openai/error-body.ts';
import type { Diagnostics } from '../telemetry/diagnostics.ts';
import { retryAfterOf } from './answer.ts';
import type { GatewayAlerts, GatewayBackend, GatewayMetrics } from './backend.ts';
import { addEngineRoutes } from './engine-routes.ts';
import type { OwnHandler } from './front-door.ts';
import type { GatewayResponse } from './gateway-message.ts';
import type { GatewayServer } from './http-server.ts';
import { fetchModel } from './model-lookup.ts';
import { openApiDocument } from './openapi.ts';
import { findPath } from './route-index.ts';
import { NO_ROUTE, type Refusal, tellRefusal } from './tell-refusal.ts';

/** What the gateway's own routes tell of. */
export interface OwnRoutesContext {
  /** Null: `/admin/status` tells of no alerts. */
  readonly alerts: GatewayAlerts | null;
  readonly backend: GatewayBackend;
  /** Null: there are no routes for debugging. */
  readonly diagnostics: Diagnostics | null;
  /** Set while the gateway drains. */
  readonly closing: LlameroError | null;
  /** Null: there is no `/metrics`. */
  readonly metrics: GatewayMetrics | null;
  /** The gateway's part of `/admin/status`. */
  gatewayStatus(): Record<string, unknown>;
}

/** It asks the engine for the list of models, and how that went is told by the pipeline. */
const ONE_MODEL = '/v1/models/*';

/** The gateway's own routes, ready to answer. */
export interface OwnRoutes {
  readonly handle: OwnHandler;
  close(): Promise<void>;
}

/** Everything that is not relayed, as a fastify application on the gateway's server. */
export async function loadOwnRoutes(context: OwnRoutesContext, server: GatewayServer): Promise<OwnRoutes> {
  // Loaded here because it costs as much time as all else of the gateway, and no relayed request needs it.
  const { fastify } = await import('fastify');
  const app: FastifyInstance = fastify<Server>({
    // The server is the gateway's; fastify only routes what the front door leaves to it.
    serverFactory: () => server as unknown as Server,
    clientErrorHandler: () => {
      // The gateway's own listener answers.
    },
    frameworkErrors: (error, request, reply) => {
      const malformed = 'The address of the request is malformed.';
      refuse(request, reply, new LlameroError('invalid_request', malformed, { cause: error }));
    },
    routerOptions: { maxParamLength: 1000 },
  });
  const refuse = (request: FastifyRequest, reply: FastifyReply, error: LlameroError) => {
    tellRefusal(context.backend, refusalOf(request, reply, error));
    sendError(reply, error);
  };
  app.setErrorHandler((error, request, reply) => {
    const answer = toLlameroError(error);
    // A caller who has gone is answered nothing.
    if (request.routeOptions.url === ONE_MODEL || answer.code === 'cancelled') sendError(reply, answer);
    else refuse(request, reply, answer);
  });
  app.setNotFoundHandler((request, reply) => {
    refuse(request, reply, new LlameroError('not_found', 'There is no such route; /openapi.json lists them all.'));
  });
  addHealth(app, context);
  if (context.diagnostics !== null) {
    const { addDebugRoutes } = await import('./debug-routes.ts');
    addDebugRoutes(app, context.diagnostics);
  }
  addEngineRoutes(app, context);
  const { alerts } = context;
  app.get('/admin/status', () => ({
    gateway: context.gatewayStatus(),
    ...context.backend.status(),
    ...(alerts === null ? {} : { alerts: alerts.status() }),
  }));
  app.get('/openapi.json', () => openApiDocument());
  const { metrics } = context;
  if (metrics !== null) {
    app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  }
  app.get<{ Params: { '*': string } }>(ONE_MODEL, async (request, reply) => {
    const model = await fetchModel(context.backend, request.params['*'], reply.raw);
    return reply.type('application/json').send(model);
  });
  await app.ready();
  return { handle: (request, response) => app.routing(request, response), close: () => app.close() };
}

/**
 * `/livez` says that the process answers, `/readyz` and `/health` whether requests may flow. They are open to anyone
 * and so tell the state and nothing else.
 */
function addHealth(app: FastifyInstance, context: OwnRoutesContext): void {
  app.get('/livez', () => ({ status: 'ok' }));
  for (const path of ['/health', '/readyz']) {
    app.get(path, (_request, reply) => {
      const state = context.closing === null ? context.backend.status().state : 'draining';
      if (state === 'ready') return reply.send({ status: 'ok' });
      const error = context.closing ?? notReady(state);
      return reply
        .code(503)
        .header('retry-after', retryAfterOf(error) ?? '1')
        .send({ status: state, error: errorObject(error) });
    });
  }
}

function notReady(state: string): LlameroError {
  const code = state === 'starting' ? 'engine_starting' : 'engine_unavailable';
  return new LlameroError(code, `The engine is not ready: ${state}.`);
}

function refusalOf(request: FastifyRequest, reply: FastifyReply, error: LlameroError): Refusal {
  const [path = ''] = request.url.split('?', 1);
  // The server is the gateway's, and so are its responses.
  return { id: (reply.raw as GatewayResponse).requestId, route: findPath(path)?.name ?? NO_ROUTE, error };
}

function sendError(reply: FastifyReply, error: LlameroError): void {
  const retryAfter = retryAfterOf(error);
  if (retryAfter !== null) void reply.header('retry-after', retryAfter);
  void reply.code(error.status).type('application/json').send(errorBody(error));
}
