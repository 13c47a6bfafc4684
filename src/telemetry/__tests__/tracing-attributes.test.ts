import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LlameroError } from '../../core/errors.ts';
import type { SettledRequest } from '../../core/events.ts';
import { beginningOf, failureOf, phasesOf, settledAttributes, settledName } from '../tracing-attributes.ts';

const WHOLE: SettledRequest = {
  id: 'req_1',
  route: 'chat.completions',
  model: 'tiny',
  stream: true,
  outcome: 'completed',
  status: 200,
  error: null,
  headSent: true,
  queueMs: 10,
  ownMs: 1,
  prefillMs: 20,
  firstTokenMs: 30,
  decodeMs: 70,
  totalMs: 100,
  usage: { promptTokens: 12, completionTokens: 8, cachedTokens: 5 },
  generatedTokens: 8,
  retries: 0,
  continuations: 0,
  trace: null,
};

function failed(error: LlameroError, more: Partial<SettledRequest> = {}): SettledRequest {
  return {
    ...WHOLE,
    outcome: error.code === 'cancelled' ? 'cancelled' : 'failed',
    error,
    status: error.status,
    ...more,
  };
}

function usage(request: SettledRequest) {
  return Object.entries(settledAttributes(request, 'client')).filter(([name]) => name.startsWith('gen_ai.usage.'));
}

describe('phases', () => {
  const cases: [string, Partial<SettledRequest>, [string, number, number][]][] = [
    [
      'of a stream',
      {},
      [
        ['queue', 0, 10],
        ['prefill', 10, 30],
        ['decode', 30, 100],
      ],
    ],
    [
      'of a whole answer',
      { firstTokenMs: null },
      [
        ['queue', 0, 10],
        ['engine', 10, 100],
      ],
    ],
    ['of one that was never sent', { model: null, queueMs: 100, firstTokenMs: null }, [['queue', 0, 100]]],
  ];
  for (const [name, given, expected] of cases) {
    it(name, () => {
      assert.deepEqual(
        phasesOf({ ...WHOLE, ...given }).map((phase) => [phase.name, phase.fromMs, phase.toMs]),
        expected,
      );
    });
  }
});

describe('what is an error', () => {
  const cases: [string, SettledRequest, { server: boolean; client: boolean }][] = [
    ['a whole answer', WHOLE, { server: false, client: false }],
    ['a wrong request', failed(new LlameroError('invalid_request', 'x')), { server: false, client: true }],
    ['a limit of the caller', failed(new LlameroError('rate_limit_exceeded', 'x')), { server: false, client: true }],
    ['a cancelled request', failed(new LlameroError('cancelled', 'x')), { server: false, client: false }],
    ['a full queue', failed(new LlameroError('queue_full', 'x')), { server: true, client: true }],
    [
      'a stream that broke behind its head',
      failed(new LlameroError('stream_interrupted', 'x'), { status: 200 }),
      { server: true, client: true },
    ],
  ];
  for (const [name, request, { server, client }] of cases) {
    it(name, () => {
      assert.equal(failureOf(request, 'server') !== null, server);
      assert.equal(failureOf(request, 'client') !== null, client);
      assert.equal(settledAttributes(request, 'server')['error.type'], request.error?.code);
    });
  }

  it('is described without a word of the request', () => {
    const quoting = failed(new LlameroError('engine_error', 'cannot parse: my secret'));
    assert.doesNotMatch(
      `${failureOf(quoting, 'client')}${JSON.stringify(settledAttributes(quoting, 'client'))}`,
      /secret/,
    );
  });
});

describe('names and attributes', () => {
  const route = { method: 'POST', path: '/v1/completions', name: 'completions' };

  it('are those of HTTP and GenAI in a gateway', () => {
    assert.deepEqual(beginningOf(route, 'server'), {
      name: 'POST /v1/completions',
      attributes: {
        'gen_ai.operation.name': 'text_completion',
        'gen_ai.provider.name': 'llama_cpp',
        'http.request.method': 'POST',
        'http.route': '/v1/completions',
        'url.path': '/v1/completions',
        'url.scheme': 'http',
      },
    });
    assert.equal(settledAttributes(WHOLE, 'server')['http.response.status_code'], 200);
  });

  it('are those of GenAI in a program', () => {
    assert.deepEqual(beginningOf(route, 'client'), {
      name: 'text_completion',
      attributes: { 'gen_ai.operation.name': 'text_completion', 'gen_ai.provider.name': 'llama_cpp' },
    });
    assert.equal(settledAttributes(WHOLE, 'client')['http.response.status_code'], undefined);
    assert.equal(settledName(WHOLE), 'chat tiny');
    assert.equal(settledName({ ...WHOLE, model: null }), null);
  });

  it('that ask nothing of the model say nothing of it', () => {
    assert.deepEqual(beginningOf({ method: 'GET', path: '/props', name: 'props' }, 'client'), {
      name: 'props',
      attributes: {},
    });
    const attributes = settledAttributes({ ...WHOLE, route: 'props', usage: null, firstTokenMs: null }, 'client');
    assert.ok(Object.keys(attributes).every((name) => name.startsWith('llamero.')));
  });

  it('count tokens as the engine did, else as they came', () => {
    assert.deepEqual(usage(WHOLE), [
      ['gen_ai.usage.input_tokens', 12],
      ['gen_ai.usage.output_tokens', 8],
      ['gen_ai.usage.cache_read.input_tokens', 5],
    ]);
    assert.deepEqual(usage({ ...WHOLE, usage: null, generatedTokens: 3 }), [['gen_ai.usage.output_tokens', 3]]);
    assert.deepEqual(usage({ ...WHOLE, usage: null, generatedTokens: 0 }), []);
  });
});
