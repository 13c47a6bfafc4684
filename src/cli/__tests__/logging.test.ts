import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LlameroError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { LlameroEmitter } from '../../core/events.ts';
import { createLog, logEvents } from '../logging.ts';

type Level = Parameters<typeof createLog>[0]['level'];

const SECRET = 'the quick brown prompt';
const exitEvent = {
  generation: 1,
  cause: 'segmentation_fault',
  message: 'llama-server crashed.',
  code: null,
  signal: 'SIGSEGV',
  log: ['last words'],
} as const;

async function logOf(level: Level, emit: (events: LlameroEmitter) => void, format: 'json' | 'pretty' = 'json') {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const { logger } = await createLog({ level, format, terminal: false, destination });
  const events = new LlameroEmitter();
  const detach = logEvents(logger, events);
  emit(events);
  detach();
  assert.equal(events.eventNames().length, 0, 'listeners are left');
  return lines;
}

function failure(code: ErrorCode, message: string, cause?: unknown) {
  return {
    id: 'r1',
    route: 'chat.completions',
    stream: false,
    totalMs: 5,
    error: new LlameroError(code, message, { cause }),
  };
}

describe('log of events', () => {
  test('an engine that crashed: cause and last lines, as a warning', async () => {
    const [line = ''] = await logOf('info', (events) =>
      events.publish('engine-exit', { ...exitEvent, expected: false }),
    );
    const record = JSON.parse(line) as Record<string, unknown>;
    assert.equal(record['level'], 'warn');
    assert.equal(record['cause'], 'segmentation_fault');
    assert.deepEqual(record['log'], ['last words']);
  });

  test('an engine that was stopped: no warning, no log lines', async () => {
    const [line = ''] = await logOf('info', (events) =>
      events.publish('engine-exit', { ...exitEvent, expected: true }),
    );
    assert.match(line, /"level":"info"/);
    assert.doesNotMatch(line, /last words/);
  });

  test('requests are told at debug, and cost nothing at info', async () => {
    const lines = await logOf('debug', (events) =>
      events.publish('request', { id: 'r1', route: 'completion', stream: true, bodyBytes: 10 }),
    );
    assert.equal(lines.length, 1);
    await logOf('info', (events) => {
      assert.equal(events.listenerCount('request'), 0);
      assert.equal(events.listenerCount('response'), 0);
      assert.equal(events.listenerCount('engine-log'), 0);
    });
  });

  test('silent listens to nothing at all', async () => {
    await logOf('silent', (events) => assert.deepEqual(events.eventNames(), []));
  });

  test('a failure of ours is told with its message', async () => {
    const [line = ''] = await logOf('info', (events) =>
      events.publish('error', failure('queue_full', 'Too many wait.')),
    );
    assert.match(line, /"level":"warn".*"code":"queue_full".*Too many wait\./);
  });

  test('a cancelled request is not worth a line at info', async () => {
    assert.deepEqual(await logOf('info', (events) => events.publish('error', failure('cancelled', 'Gone.'))), []);
  });

  test('pretty lines are written at once, one per event', async () => {
    const lines = await logOf(
      'info',
      (events) => events.publish('engine-exit', { ...exitEvent, expected: false }),
      'pretty',
    );
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /WARN.*engine lost/);
  });
});

describe('neither prompts nor keys', () => {
  for (const code of [
    'invalid_request',
    'engine_error',
    'engine_bad_response',
    'internal_error',
    'context_length_exceeded',
  ] as const) {
    test(`${code} whose message quotes the request`, async () => {
      const error = failure(code, `cannot parse: ${SECRET}`, new SyntaxError(`Unexpected token in "${SECRET}"`));
      const lines = await logOf('trace', (events) => events.publish('error', error));
      assert.equal(lines.length, 1);
      assert.ok(!lines.join('').includes(SECRET), lines.join(''));
    });
  }

  test('an unexpected failure is located all the same', async () => {
    const error = failure('internal_error', 'Unexpected failure.', new TypeError(SECRET));
    const [line = ''] = await logOf('info', (events) => events.publish('error', error));
    assert.match(line, /TypeError/);
    assert.match(line, /logging\.test\.ts/);
  });

  for (const args of [
    ['--api-key', 'hush-hush'],
    ['--api-key=hush-hush'],
    ['-hft', 'hush-hush'],
    ['--hf-token', 'hush-hush'],
  ]) {
    test(`engine options ${args[0]}`, async () => {
      const lines = await logOf('trace', (events) =>
        events.publish('engine-start', { generation: 1, command: 'llama-server', args: [...args, '--port', '1'] }),
      );
      assert.ok(!lines.join('').includes('hush-hush'), lines.join(''));
      assert.ok(lines.join('').includes('--port'));
    });
  }
});
