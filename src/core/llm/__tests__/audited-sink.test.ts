import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LlameroError } from '../../errors.ts';
import { LlameroEmitter, type SettledRequest } from '../../events.ts';
import type { PipelineRequest, ResponseSink } from '../../exchange.ts';
import { engineRoute } from '../../openai/routes.ts';
import { AuditedSink } from '../audited-sink.ts';
import { RequestCounters } from '../request-counters.ts';

const EVENTS = { contentType: 'text/event-stream', status: 200, queueMs: 0, engineMs: 0 };

/** What a stream of these pieces is judged to be, and what its caller got. */
function audit(path: string, pieces: readonly string[], contentType = EVENTS.contentType) {
  const events = new LlameroEmitter();
  const truncated: string[] = [];
  events.on('stream-truncated', ({ id }) => truncated.push(id));
  const got: string[] = [];
  const sink: ResponseSink = {
    onHead: () => got.push('head'),
    onData: (chunk) => got.push(chunk.toString()) > 0,
    onEnd: () => got.push('end'),
    onError: ({ code }) => got.push(code),
  };
  const request = { id: 'r', route: engineRoute(`POST ${path}`) } as PipelineRequest;
  const audited = new AuditedSink(sink, request, events);
  audited.onLimits({} as never);
  audited.onQueued(1);
  audited.onProgress({} as never);
  audited.onHead({ ...EVENTS, contentType });
  for (const piece of pieces) audited.onData(Buffer.from(piece));
  return { audited, truncated, got };
}

const CHUNK = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n';
const DONE = 'data: [DONE]\n\n';
const STOP = 'event: message_stop\ndata: {"type":"message_stop"}\n\n';

const STREAMS: readonly { name: string; path: string; pieces: string[]; truncated: boolean }[] = [
  { name: 'a chat', path: '/v1/chat/completions', pieces: [CHUNK, CHUNK, DONE], truncated: false },
  { name: 'a chat in one piece', path: '/v1/chat/completions', pieces: [CHUNK + DONE], truncated: false },
  {
    name: 'a chat with a comment behind it',
    path: '/v1/completions',
    pieces: [CHUNK, DONE, ': x\n\n'],
    truncated: false,
  },
  { name: 'a chat with an event behind it', path: '/v1/completions', pieces: [DONE, CHUNK], truncated: false },
  { name: 'a chat that breaks off', path: '/v1/chat/completions', pieces: [CHUNK, CHUNK], truncated: true },
  { name: 'a chat of nothing', path: '/v1/chat/completions', pieces: [], truncated: true },
  { name: 'a message', path: '/v1/messages', pieces: [CHUNK, STOP], truncated: false },
  { name: 'a message that breaks off', path: '/v1/messages', pieces: [STOP, CHUNK, CHUNK], truncated: true },
  {
    name: 'a response',
    path: '/v1/responses',
    pieces: [CHUNK, 'event: response.completed\ndata: {"type":"response.completed"}\n\n'],
    truncated: false,
  },
  { name: 'a completion', path: '/completion', pieces: ['data: {"content":"","stop":true}\n\n'], truncated: false },
  { name: 'a completion that breaks off', path: '/completion', pieces: ['data: {"stop":false}\n\n'], truncated: true },
  {
    name: 'a completion whose last event is too long to be read again',
    path: '/completion',
    pieces: [`data: {"prompt":"${'x'.repeat(300_000)}","stop":true}\n\n`],
    truncated: false,
  },
];

describe('the audit of a stream', () => {
  for (const { name, path, pieces, truncated } of STREAMS) {
    it(`${name} is ${truncated ? 'cut' : 'whole'}`, () => {
      const seen = audit(path, pieces);
      seen.audited.onEnd();
      assert.deepEqual(seen.truncated, truncated ? ['r'] : []);
      assert.deepEqual(seen.got, ['head', ...pieces, 'end']);
    });
  }

  it('says nothing of an error, nor of an answer that is no stream', () => {
    const failed = audit('/v1/chat/completions', [CHUNK]);
    failed.audited.onError(new LlameroError('stream_interrupted', 'm'));
    assert.deepEqual(failed.truncated, []);
    assert.deepEqual(failed.got, ['head', CHUNK, 'stream_interrupted']);
    const whole = audit('/v1/chat/completions', ['{}'], 'application/json');
    whole.audited.onEnd();
    assert.deepEqual(whole.truncated, []);
  });
});

describe('getMetrics', () => {
  const request = { outcome: 'completed', queueMs: 100, totalMs: 600, usage: null, generatedTokens: 0 };
  const settle = (counters: RequestCounters, ...requests: Partial<SettledRequest>[]) => {
    for (const one of requests) counters.settled({ ...request, ...one } as SettledRequest);
  };

  it('is nothing before the first request', () => {
    const { memoryUsage, ...rest } = new RequestCounters().metrics(0);
    assert.ok(memoryUsage.rss > 0);
    assert.deepEqual(rest, { activeRequests: 0, errorRate: 0, avgLatency: 0, tokensPerSecond: 0 });
  });

  it('is sums of the requests that have ended', () => {
    const counters = new RequestCounters();
    const usage = { promptTokens: 5, completionTokens: 20, cachedTokens: 0 };
    settle(
      counters,
      { usage },
      { totalMs: 1000 },
      { outcome: 'failed', totalMs: 5 },
      { outcome: 'cancelled', totalMs: 600, generatedTokens: 5 },
    );
    const { errorRate, avgLatency, tokensPerSecond, activeRequests } = counters.metrics(3);
    assert.deepEqual([errorRate, avgLatency, tokensPerSecond, activeRequests], [0.25, 800, 25, 3]);
  });
});
