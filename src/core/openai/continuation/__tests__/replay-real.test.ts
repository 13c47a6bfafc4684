import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { engineRoute } from '../../routes.ts';
import { replayContinuation, withSeed } from '../replay.ts';
import { ReplayJournal } from '../replay-journal.ts';
import { startStreamingEngine, type StreamingEngine } from './engine-streams.ts';
import { normalised } from './normalised-stream.ts';

const MESSAGES = [{ role: 'user', content: 'Tell me a story.' }];
const PARAMETERS = { type: 'object', properties: { city: { type: 'string', maxLength: 6 } }, required: ['city'] };
const FUNCTION = { name: 'weather', description: 'Tells the weather.', parameters: PARAMETERS };
const GREEDY = { stream: true, temperature: 0, max_tokens: 12 };
const SAMPLED = { stream: true, temperature: 1.5, max_tokens: 12 };
const CALL = { stream: true, temperature: 0, max_tokens: 60 };

const REQUESTS: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ['chat', '/v1/chat/completions', { messages: MESSAGES, ...GREEDY, stream_options: { include_usage: true } }],
  ['chat, sampled', '/v1/chat/completions', { messages: MESSAGES, ...SAMPLED }],
  [
    'chat, probabilities and timings',
    '/v1/chat/completions',
    { messages: MESSAGES, ...GREEDY, logprobs: true, top_logprobs: 2, timings_per_token: true, verbose: true },
  ],
  [
    'chat, a tool call',
    '/v1/chat/completions',
    { messages: MESSAGES, ...CALL, tool_choice: 'required', tools: [{ type: 'function', function: FUNCTION }] },
  ],
  ['chat, two choices', '/v1/chat/completions', { messages: MESSAGES, ...SAMPLED, n: 2 }],
  ['completions', '/v1/completions', { prompt: 'Once upon', ...GREEDY, verbose: true }],
  ['completions, sampled', '/v1/completions', { prompt: 'Once upon', ...SAMPLED }],
  ['completion', '/completion', { prompt: 'Once upon', ...GREEDY, n_probs: 2 }],
  ['completion, sampled', '/completion', { prompt: 'Once upon', ...SAMPLED }],
  ['completion, two choices', '/completion', { prompt: 'Once upon', ...SAMPLED, n_cmpl: 2 }],
  ['infill', '/infill', { input_prefix: 'def ', input_suffix: 'return', ...GREEDY }],
  ['responses', '/v1/responses', { input: 'Tell me a story.', ...GREEDY, max_output_tokens: 12 }],
  ['responses, sampled', '/v1/responses', { input: 'Tell me a story.', ...SAMPLED, max_output_tokens: 12 }],
  [
    'responses, a tool call',
    '/v1/responses',
    { input: 'Tell me a story.', ...CALL, tool_choice: 'required', tools: [{ type: 'function', ...FUNCTION }] },
  ],
  ['messages', '/v1/messages', { messages: MESSAGES, ...GREEDY }],
  ['messages, likeliest token only', '/v1/messages', { messages: MESSAGES, ...SAMPLED, top_k: 1 }],
  ['infill, sampled', '/infill', { input_prefix: 'def ', input_suffix: 'return', ...SAMPLED }],
  [
    'messages, a tool call',
    '/v1/messages',
    {
      messages: MESSAGES,
      ...CALL,
      tool_choice: { type: 'any' },
      tools: [{ name: 'weather', description: 'Tells the weather.', input_schema: PARAMETERS }],
    },
  ],
];

let engine: StreamingEngine;
before(async () => {
  engine = await startStreamingEngine(448, 2);
});
after(async () => engine[Symbol.asyncDispose]());

for (const [name, path, request] of REQUESTS) {
  test(`${name}: what was cut off comes again, and only that`, { timeout: 30_000 }, async () => {
    const { dialect } = engineRoute(`POST ${path}`);
    const sequences = Number(request['n'] ?? request['n_cmpl'] ?? 1);
    const body = withSeed(Buffer.from(JSON.stringify(request)), 4711);
    const whole = await engine.stream(path, body);
    const again = await engine.stream(path, body);
    assert.ok(whole.length > 4, Buffer.concat(whole).toString());
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const sent = whole.slice(0, cut);
      const journal = new ReplayJournal(dialect, { sequences });
      for (const event of sent) journal.note(event);
      const { splicer } = replayContinuation(journal, body);
      const rest = splicer.take(Buffer.concat(again));
      assert.ok(rest !== null, `cut at ${cut}`);
      assert.deepEqual(normalised(Buffer.concat([...sent, rest])), normalised(Buffer.concat(whole)), `cut at ${cut}`);
    }
  });
}

test('another seed is another answer, of which nothing is let out', { timeout: 30_000 }, async () => {
  const path = '/v1/chat/completions';
  const body = Buffer.from(JSON.stringify({ messages: MESSAGES, ...SAMPLED }));
  const whole = await engine.stream(path, withSeed(body, 1));
  const other = await engine.stream(path, withSeed(body, 2));
  const journal = new ReplayJournal('chat');
  journal.note(Buffer.concat(whole.slice(0, 8)));
  assert.equal(replayContinuation(journal, body).splicer.take(Buffer.concat(other)), null);
});
