import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type RequestWork, workOf } from '../request-work.ts';
import { engineRoute } from '../routes.ts';

type Row = [route: string, fields: Record<string, unknown>, expected: Partial<RequestWork>];

const CHAT = 'POST /v1/chat/completions';
const TEXT = 'POST /v1/completions';
const OWN = 'POST /completion';
const RESPONSES = 'POST /v1/responses';
const MESSAGES = 'POST /v1/messages';
const EMBEDDINGS = 'POST /v1/embeddings';

describe('the work that a request asks for', () => {
  const limits: Row[] = [
    [CHAT, {}, { maxTokens: null }],
    [CHAT, { max_tokens: 7 }, { maxTokens: 7 }],
    [CHAT, { max_completion_tokens: 8, max_tokens: 7 }, { maxTokens: 8 }],
    [CHAT, { n_predict: 9, max_completion_tokens: 8, max_tokens: 7 }, { maxTokens: 9 }],
    [CHAT, { max_tokens: -1 }, { maxTokens: null }],
    [CHAT, { max_tokens: 0 }, { maxTokens: 0 }],
    [CHAT, { max_tokens: 7.9 }, { maxTokens: 7 }],
    [CHAT, { max_tokens: '7' }, { maxTokens: null }],
    [CHAT, { max_tokens: null, n_predict: null }, { maxTokens: null }],
    [CHAT, { max_output_tokens: 7 }, { maxTokens: null }],
    [TEXT, { max_tokens: 7 }, { maxTokens: 7 }],
    [OWN, { n_predict: 7 }, { maxTokens: 7 }],
    [RESPONSES, { max_output_tokens: 7 }, { maxTokens: 7 }],
    [MESSAGES, { max_tokens: 7 }, { maxTokens: 7 }],
    [MESSAGES, {}, { maxTokens: 4096 }],
    [EMBEDDINGS, { max_tokens: 7 }, { maxTokens: 0 }],
    ['POST /tokenize', { n_predict: 7 }, { maxTokens: 0 }],
  ];
  const sequences: Row[] = [
    [CHAT, {}, { sequences: 1 }],
    [CHAT, { n: 3 }, { sequences: 3 }],
    [CHAT, { n: 0 }, { sequences: 1 }],
    [CHAT, { n: 'many' }, { sequences: 1 }],
    [OWN, { n_cmpl: 2, n: 5 }, { sequences: 2 }],
    [TEXT, { prompt: ['a', 'b'] }, { sequences: 2 }],
    [TEXT, { prompt: ['a', 'b'], n: 2 }, { sequences: 4 }],
    [TEXT, { prompt: [12, 34] }, { sequences: 1 }],
    [TEXT, { prompt: ['a', 12, 34] }, { sequences: 1 }],
    [TEXT, { prompt: [[12, 34], [56]] }, { sequences: 2 }],
    [TEXT, { prompt: [] }, { sequences: 1 }],
    [EMBEDDINGS, { input: ['a', 'b', 'c'] }, { sequences: 3 }],
    [EMBEDDINGS, { input: 'a' }, { sequences: 1 }],
    ['POST /embedding', { content: ['a', 'b'] }, { sequences: 2 }],
    ['POST /rerank', { query: 'q', documents: ['a', 'b', 'c', 'd'] }, { sequences: 4 }],
    ['POST /rerank', { query: 'q', texts: ['a', 'b'] }, { sequences: 2 }],
    ['POST /tokenize', { content: ['a', 'b'] }, { sequences: 1 }],
  ];
  const progress: Row[] = [
    [CHAT, { return_progress: true }, { wantsProgress: true }],
    [CHAT, { return_progress: false }, { wantsProgress: false }],
    [CHAT, {}, { wantsProgress: false }],
  ];
  for (const [route, fields, expected] of [...limits, ...sequences, ...progress]) {
    it(`${route} ${JSON.stringify(fields)}: ${JSON.stringify(expected)}`, () => {
      const work = workOf(engineRoute(route), fields, 10);
      assert.deepEqual({ ...work, ...expected }, work);
    });
  }

  it('guesses the prompt from its bytes', () => {
    assert.equal(workOf(engineRoute(CHAT), {}, 1001).promptTokens, 251);
  });
});
