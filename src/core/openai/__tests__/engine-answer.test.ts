import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkAnswer, engineFailure, parseAnswer, streamFailure } from '../engine-answer.ts';
import { tokenCountsOf } from '../usage.ts';

describe('errors of the engine', () => {
  const table: [name: string, status: number, body: string, code: string, httpStatus: number][] = [
    [
      'its own 400',
      400,
      '{"error":{"code":400,"message":"bad","type":"invalid_request_error"}}',
      'invalid_request',
      400,
    ],
    [
      'not supported',
      501,
      '{"error":{"code":501,"message":"no embeddings","type":"not_supported_error"}}',
      'invalid_request',
      400,
    ],
    [
      'loading',
      503,
      '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
      'engine_starting',
      503,
    ],
    [
      'an embedding input too long',
      500,
      '{"error":{"message":"input (600 tokens) is too large to process. increase the physical batch size (current batch size: 512)"}}',
      'context_length_exceeded',
      400,
    ],
    [
      'a number too large',
      500,
      '{"error":{"message":"[json.exception.out_of_range.406] number overflow"}}',
      'invalid_request',
      400,
    ],
    ['tokens that do not exist', 500, '{"error":{"message":"vector::_M_range_check: __n"}}', 'invalid_request', 400],
    ['its own 500', 500, '{"error":{"code":500,"message":"boom","type":"server_error"}}', 'engine_error', 502],
    ['no JSON', 500, 'Internal', 'engine_error', 502],
    ['refused key', 401, '{"error":{"message":"Invalid API Key"}}', 'engine_unavailable', 503],
  ];
  for (const [name, status, body, code, httpStatus] of table) {
    it(`${name}: ${code}`, () => {
      const error = engineFailure(status, Buffer.from(body));
      assert.equal(error.code, code);
      assert.equal(error.status, httpStatus);
    });
  }

  it('does not repeat the request', () => {
    const error = engineFailure(
      500,
      Buffer.from(
        '{"error":{"message":"Failed to parse messages: Missing \'role\' in message: {\\"content\\":\\"secret\\"}"}}',
      ),
    );
    assert.equal(error.code, 'invalid_request');
    assert.doesNotMatch(error.message, /secret/);
  });

  it('tells both numbers of a context that is too short', () => {
    const body =
      '{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}';
    const error = engineFailure(400, Buffer.from(body));
    assert.equal(error.code, 'context_length_exceeded');
    assert.deepEqual(error.details, { promptTokens: 9000, contextLength: 4096 });
  });

  it('reads an error inside a stream', () => {
    assert.equal(streamFailure({ code: 500, message: 'boom' }).message, 'boom');
    assert.equal(streamFailure({ code: 400, message: 'bad' }).code, 'invalid_request');
    assert.equal(streamFailure(null).code, 'engine_error');
  });
});

describe('whole answers', () => {
  it('are JSON or an error', () => {
    const good = ['{"a":1}', '[1,[2,{"b":"}"}]]', '{"a":"\\"}"}\n', `{"a":"${'x'.repeat(100)}"}`];
    for (const text of good) {
      checkAnswer(Buffer.from(text));
      assert.deepEqual(parseAnswer(Buffer.from(text)), JSON.parse(text));
    }
    const bad = [
      '{"a":',
      '',
      '{"a":"',
      '{"a":"\\"}',
      '{}}',
      '{} {}',
      '<html>',
      'null',
      '[1}',
      `{"a":"${'x'.repeat(100)}`,
    ];
    for (const bytes of [...bad.map((text) => Buffer.from(text)), Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])]) {
      assert.throws(() => checkAnswer(bytes), { code: 'engine_bad_response' }, JSON.stringify(bytes.toString()));
    }
    assert.throws(() => parseAnswer(Buffer.from('{"a":,}')), { code: 'engine_bad_response' });
  });
});

describe('token counts', () => {
  const table: [name: string, answer: Record<string, unknown>, counts: [number, number, number] | null][] = [
    ['timings', { timings: { prompt_n: 3, cache_n: 4, predicted_n: 5 } }, [7, 5, 4]],
    [
      'OpenAI usage',
      { usage: { prompt_tokens: 7, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 4 } } },
      [7, 5, 4],
    ],
    [
      'Responses usage',
      { response: { usage: { input_tokens: 7, output_tokens: 5, input_tokens_details: { cached_tokens: 4 } } } },
      [7, 5, 4],
    ],
    ['Anthropic usage', { usage: { input_tokens: 3, output_tokens: 5, cache_read_input_tokens: 4 } }, [7, 5, 4]],
    ['/completion', { tokens_evaluated: 7, tokens_predicted: 5, tokens_cached: 12 }, [7, 5, 0]],
    ['none', { tokens: [] }, null],
    ['nonsense', { usage: { prompt_tokens: 'x' } }, [0, 0, 0]],
  ];
  for (const [name, answer, counts] of table) {
    it(name, () => {
      const [promptTokens, completionTokens, cachedTokens] = counts ?? [];
      assert.deepEqual(
        tokenCountsOf(answer),
        counts === null ? null : { promptTokens, completionTokens, cachedTokens },
      );
    });
  }
});
