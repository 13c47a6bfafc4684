import type { ServerResponse } from 'node:http';
import { LlameroError } from '../core/errors.ts';
import { ANONYMOUS } from '../core/admission/client.ts';
import { NO_WORK } from '../core/openai/request-work.ts';
import { engineRoute } from '../core/openai/routes.ts';
import type { GatewayBackend } from './backend.ts';
import { newRequestId } from '../core/request-id.ts';

const MODELS = engineRoute('GET /v1/models');

/**
 * One entry of the engine's model list, as the engine describes it.
 * @param client The response that waits for it: when the client goes, the look-up ends.
 * @throws LlameroError `model_not_found`, with a message that lists what there is; whatever the engine's list fails with.
 */
export async function fetchModel(backend: GatewayBackend, id: string, client: ServerResponse): Promise<unknown> {
  const list = await readModels(backend, client);
  const model = list.find((entry) => entry.id === id);
  if (model !== undefined) return model;
  const known = list.map((entry) => `'${String(entry.id)}'`).join(', ');
  throw new LlameroError(
    'model_not_found',
    `There is no such model here. There is: ${known === '' ? 'none' : known}.`,
    {
      param: 'model',
    },
  );
}

async function readModels(backend: GatewayBackend, client: ServerResponse): Promise<{ id: unknown }[]> {
  const body = await fetchList(backend, client);
  try {
    const { data } = JSON.parse(body.toString()) as { data: { id: unknown }[] };
    return data.filter((entry) => typeof entry === 'object' && entry !== null);
  } catch (error) {
    throw new LlameroError('engine_bad_response', "The engine's list of models is not what was expected.", {
      cause: error,
    });
  }
}

function fetchList(backend: GatewayBackend, client: ServerResponse): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const exchange = backend.exchange(
      {
        id: newRequestId(),
        route: MODELS,
        query: '',
        client: ANONYMOUS,
        body: null,
        work: NO_WORK,
        continuation: null,
        stream: false,
        timeoutMs: null,
      },
      {
        onHead: () => {},
        onData: (chunk) => chunks.push(chunk) > 0,
        onEnd: () => resolve(Buffer.concat(chunks)),
        onError: reject,
      },
    );
    // After an answer this finds the exchange ended and does nothing.
    client.once('close', () => exchange.cancel());
  });
}
