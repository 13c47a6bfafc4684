import type { FastifyInstance } from 'fastify';
import { LlameroError } from '../core/errors.ts';
import { CPU_PROFILE_SECONDS } from '../telemetry/cpu-profile.ts';
import type { Diagnostics } from '../telemetry/diagnostics.ts';

/**
 * `/admin/debug/*`: files about this process, written where it runs; the answer tells their names. The front door has
 * checked the right to them.
 */
export function addDebugRoutes(app: FastifyInstance, diagnostics: Diagnostics): void {
  void app.register((routes, _options, done) => {
    // They take no body; what is sent all the same is thrown away, whatever it claims to be.
    routes.removeAllContentTypeParsers();
    routes.addContentTypeParser('*', (_request, payload, parsed) => {
      payload.resume();
      parsed(null);
    });
    routes.post('/admin/debug/heap-snapshot', async () => await diagnostics.heapSnapshot());
    routes.post<{ Querystring: { seconds?: unknown } }>('/admin/debug/cpu-profile', async (request, reply) => {
      const seconds = secondsOf(request.query.seconds);
      const gone = new AbortController();
      // Before the answer is through: its caller is gone, or the gateway closes.
      const onClose = () => gone.abort(new LlameroError('cancelled', 'The caller of the CPU profile is gone.'));
      reply.raw.once('close', onClose);
      try {
        return await diagnostics.cpuProfile(seconds, gone.signal);
      } finally {
        reply.raw.off('close', onClose);
      }
    });
    routes.get('/admin/debug/log', () => ({
      lines: diagnostics.recentLog(),
      engine: diagnostics.recentEngineLog(),
    }));
    done();
  });
}

function secondsOf(given: unknown): number {
  if (given === undefined) return CPU_PROFILE_SECONDS.default;
  const { min, max } = CPU_PROFILE_SECONDS;
  const seconds = typeof given === 'string' && /^\d{1,3}$/.test(given) ? Number(given) : Number.NaN;
  if (seconds >= min && seconds <= max) return seconds;
  throw new LlameroError('invalid_request', `seconds: expected a whole number from ${min} to ${max}.`, {
    param: 'seconds',
  });
}
