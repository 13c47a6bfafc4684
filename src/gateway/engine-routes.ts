import type { FastifyInstance, FastifyReply } from 'fastify';
import { LlameroError } from '../core/errors.ts';
import type { EngineRestart, GatewayBackend } from './backend.ts';

/** There is one engine behind a gateway; this is its id. */
export const ENGINE_ID = 'default';

/** What the routes for engines need. */
export interface EngineRoutesContext {
  readonly backend: GatewayBackend;
  /** Set while the gateway drains. */
  readonly closing: LlameroError | null;
}

/**
 * `POST /admin/engines/{id}/restart`: a planned restart. Answers when the new engine takes requests, or 202 at once with
 * `?wait=false`; how that ended is in `/admin/status` and in the log. The front door has checked the right to it.
 */
export function addEngineRoutes(app: FastifyInstance, context: EngineRoutesContext): void {
  void app.register((routes, _options, done) => {
    // It takes no body; what is sent all the same is thrown away, whatever it claims to be.
    routes.removeAllContentTypeParsers();
    routes.addContentTypeParser('*', (_request, payload, parsed) => {
      payload.resume();
      parsed(null);
    });
    routes.post<{ Params: { id: string }; Querystring: { wait?: unknown } }>(
      '/admin/engines/:id/restart',
      (request, reply) => restart(context, request.params.id, waits(request.query.wait), reply),
    );
    done();
  });
}

async function restart(
  { backend, closing }: EngineRoutesContext,
  id: string,
  wait: boolean,
  reply: FastifyReply,
): Promise<unknown> {
  if (closing !== null) throw closing;
  if (id !== ENGINE_ID || backend.restartEngine === undefined)
    throw new LlameroError('not_found', `There is no such engine; there is: ${ENGINE_ID}.`);
  const restarting = backend.restartEngine();
  if (wait) return { id, ...described(await restarting) };
  // How it ends is told by the event `engine-replacement`.
  restarting.catch(() => undefined);
  return reply.code(202).send({ id, status: 'restarting' });
}

function described({ from, to, overlap, slotsRestored, durationMs }: EngineRestart) {
  const generation = { from, to };
  return { status: 'restarted', generation, overlap, slotsRestored, durationMs: Math.round(durationMs) };
}

function waits(given: unknown): boolean {
  if (given === undefined || given === 'true') return true;
  if (given === 'false') return false;
  throw new LlameroError('invalid_request', 'wait: expected true or false.', { param: 'wait' });
}
