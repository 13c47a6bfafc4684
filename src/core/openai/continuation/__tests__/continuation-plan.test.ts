import assert from 'node:assert/strict';
import { test } from 'node:test';
import { engineRoute } from '../../routes.ts';
import { planContinuation } from '../continuation-plan.ts';
import type { ContinuationWay } from '../continuation.ts';

type Mode = 'fast' | 'exact' | 'off';

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const MESSAGES = { messages: [{ role: 'user', content: 'Hello' }] };
const PROMPT = { prompt: 'Hello' };

function plan(path: string, fields: object, mode: Mode, more: { hasMedia?: boolean; canReplay?: boolean } = {}) {
  const route = engineRoute(`POST ${path}`);
  return planContinuation({ route, fields: { ...fields }, mode, hasMedia: false, canReplay: true, ...more });
}

test('the way of a stream follows from its route, its mode and its body', () => {
  const cases: [path: string, fields: object, fast: ContinuationWay, exact: ContinuationWay][] = [
    ['/completion', PROMPT, 'ids', 'ids'],
    ['/completion', { prompt: [1, 2] }, 'ids', 'ids'],
    ['/completion', { prompt: ['a', 2] }, 'ids', 'ids'],
    ['/completion', { prompt: ['a'] }, 'ids', 'ids'],
    ['/completion', { prompt: ['a', 'b'] }, 'replay', 'replay'],
    ['/completion', { prompt: { prompt_string: 'a', multimodal_data: ['eA=='] } }, 'replay', 'replay'],
    ['/completion', { ...PROMPT, n_cmpl: 2 }, 'replay', 'replay'],
    ['/completion', { ...PROMPT, grammar: 'root ::= "a"' }, 'replay', 'replay'],
    ['/completion', { ...PROMPT, grammar: '', json_schema: null }, 'ids', 'ids'],
    ['/completion', { ...PROMPT, json_schema: {} }, 'replay', 'replay'],
    ['/completion', { ...PROMPT, response_fields: ['content'] }, 'replay', 'replay'],
    ['/completion', { ...PROMPT, n_probs: 3 }, 'ids', 'ids'],
    ['/completion', { ...PROMPT, timings_per_token: true }, 'ids', 'ids'],
    ['/completion', { ...PROMPT, timings_per_token: true, stop: ['x'] }, 'replay', 'replay'],
    ['/infill', { input_prefix: 'a', input_suffix: 'b' }, 'replay', 'replay'],
    [COMPLETIONS, PROMPT, 'text', 'replay'],
    [COMPLETIONS, { prompt: [1, 2] }, 'replay', 'replay'],
    [COMPLETIONS, { ...PROMPT, echo: true }, 'replay', 'replay'],
    [COMPLETIONS, { ...PROMPT, logprobs: 2 }, 'replay', 'replay'],
    [COMPLETIONS, { ...PROMPT, logprobs: null, stop: 'x', n: 1 }, 'text', 'replay'],
    [COMPLETIONS, { ...PROMPT, n: 2 }, 'replay', 'replay'],
    [COMPLETIONS, { ...PROMPT, best_of: 2 }, 'replay', 'replay'],
    [CHAT, MESSAGES, 'text', 'replay'],
    [CHAT, { ...MESSAGES, tools: [], response_format: { type: 'text' }, tool_choice: 'auto' }, 'text', 'replay'],
    [CHAT, { ...MESSAGES, tools: [{ type: 'function' }] }, 'replay', 'replay'],
    [CHAT, { ...MESSAGES, tool_choice: 'required' }, 'replay', 'replay'],
    [CHAT, { ...MESSAGES, response_format: { type: 'json_object' } }, 'replay', 'replay'],
    [CHAT, { ...MESSAGES, logprobs: true }, 'replay', 'replay'],
    [CHAT, { ...MESSAGES, continue_final_message: true }, 'replay', 'replay'],
    [CHAT, { messages: [...MESSAGES.messages, { role: 'assistant', content: 'Hi' }] }, 'replay', 'replay'],
    [CHAT, { messages: [] }, 'replay', 'replay'],
    ['/v1/responses', { input: 'Hello' }, 'replay', 'replay'],
    ['/v1/messages', MESSAGES, 'replay', 'replay'],
  ];
  for (const [path, fields, fast, exact] of cases) {
    const name = `${path} ${JSON.stringify(fields)}`;
    assert.equal(plan(path, fields, 'fast').way, fast, name);
    assert.equal(plan(path, fields, 'exact').way, exact, name);
    assert.equal(plan(path, fields, 'off').way, null, name);
    const withoutReplay = plan(path, fields, 'fast', { canReplay: false });
    assert.deepEqual(withoutReplay, { way: fast === 'replay' ? null : fast, needsSeed: false }, name);
    assert.equal(plan(path, fields, 'fast', { hasMedia: true }).way, 'replay', name);
  }
  assert.equal(plan('/v1/embeddings', { input: 'Hello' }, 'fast').way, null);
});

test('a seed is needed where the answer would be asked for again, and none was given', () => {
  const cases: [path: string, fields: object, mode: Mode, needsSeed: boolean][] = [
    ['/completion', PROMPT, 'fast', false],
    ['/completion', PROMPT, 'exact', false],
    [CHAT, MESSAGES, 'fast', false],
    [CHAT, MESSAGES, 'exact', true],
    [CHAT, { ...MESSAGES, tools: [{ type: 'function' }] }, 'fast', true],
    [CHAT, { ...MESSAGES, seed: 7 }, 'exact', false],
    [CHAT, { ...MESSAGES, seed: 0 }, 'exact', false],
    [CHAT, { ...MESSAGES, seed: -1 }, 'exact', true],
    [CHAT, { ...MESSAGES, seed: 0xffff_ffff }, 'exact', true],
    [CHAT, { ...MESSAGES, seed: null }, 'exact', true],
    [CHAT, MESSAGES, 'off', false],
  ];
  for (const [path, fields, mode, needsSeed] of cases) {
    assert.equal(plan(path, fields, mode).needsSeed, needsSeed, `${path} ${mode} ${JSON.stringify(fields)}`);
  }
});
