import assert from 'node:assert/strict';
import path from 'node:path';
import { writeTinyModel } from '../../../../testing/index.ts';
import { supervised, temporaryDirectory } from '../../../engine/__tests__/engine-fixtures.ts';
import type { StreamSplicer } from '../continuation.ts';
import { EventWalk } from '../event-walk.ts';

/** The real llama-server with a tiny model, for streams that are cut and continued. */
export interface StreamingEngine extends AsyncDisposable {
  /** The events of a streamed answer, each for itself. */
  stream(route: string, body: Buffer | Record<string, unknown>): Promise<Buffer[]>;
}

/**
 * @param vocabulary of the model: the larger, the less often its tokens are those that its text would be cut into.
 * @param args more options for llama-server.
 */
export async function startStreamingEngine(
  vocabulary = 448,
  parallel = 1,
  args: string[] = [],
): Promise<StreamingEngine> {
  const command = process.env['LLAMA_SERVER_PATH'] ?? '';
  // Without this the tests would try to run the current directory.
  if (command === '') throw new Error('LLAMA_SERVER_PATH is not set: run the tests through npm test.');
  const directory = await temporaryDirectory();
  const { path: model } = await writeTinyModel(path.join(directory.path, 'tiny.gguf'), { vocabulary });
  const { engine } = supervised(command, model, { parallel, args });
  await engine.start();
  const { dispatcher, headers } = await engine.ready(AbortSignal.timeout(30_000));
  return {
    async stream(route, body) {
      const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
      // llama-server closes the connection behind a stream although it announces to keep it.
      const request = { path: route, method: 'POST', headers, body: bytes, reset: true } as const;
      const answer = await dispatcher.request(request);
      const run = Buffer.from(await answer.body.arrayBuffer());
      assert.equal(answer.statusCode, 200, run.toString());
      return eventsOf(run);
    },
    async [Symbol.asyncDispose]() {
      await engine.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** The events of a run, each for itself. */
export function eventsOf(run: Buffer): Buffer[] {
  const walk = new EventWalk();
  const events: Buffer[] = [];
  for (walk.begin(run); walk.next();) events.push(run.subarray(walk.start, walk.end));
  return events;
}

/** What the client gets of the new engine's events, which come one by one. */
export function spliced(splicer: StreamSplicer, events: readonly Buffer[]): Buffer[] {
  return eventsOf(Buffer.concat(events.map((event) => splicer.take(event) ?? assert.fail('nothing of it fits'))));
}

/** The data of events, parsed; comments and the closing `[DONE]` aside. */
export function dataOf(events: readonly Buffer[]): Record<string, unknown>[] {
  return events
    .map((event) => event.toString())
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice('data: '.length)) as Record<string, unknown>);
}
