import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LlameroError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { LlameroEmitter, type SettledRequest } from '../../core/events.ts';
import { createLog, type EventLogOptions, logEvents } from '../logging.ts';
import { harmlessEngineLog } from '../safe-log-fields.ts';

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

async function logOf(
  level: Level,
  emit: (events: LlameroEmitter) => void,
  format: 'json' | 'pretty' = 'json',
  options?: EventLogOptions,
) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const { logger } = await createLog({ level, format, terminal: false, destination });
  const events = new LlameroEmitter();
  const detach = logEvents(logger, events, options);
  emit(events);
  detach();
  assert.equal(events.eventNames().length, 0, 'listeners are left');
  return lines;
}

const settled: SettledRequest = {
  id: 'r1',
  route: 'chat.completions',
  model: 'm',
  stream: false,
  outcome: 'completed',
  status: 200,
  error: null,
  headSent: true,
  queueMs: 1,
  ownMs: 1,
  prefillMs: null,
  firstTokenMs: null,
  decodeMs: null,
  totalMs: 5,
  usage: null,
  generatedTokens: 0,
  retries: 0,
  continuations: 0,
  trace: null,
};

function failure(code: ErrorCode, message: string, cause?: unknown): SettledRequest {
  const error = new LlameroError(code, message, { cause });
  return { ...settled, outcome: code === 'cancelled' ? 'cancelled' : 'failed', status: error.status, error };
}

/** The log of a request that ends like this. */
async function tell(event: SettledRequest): Promise<string[]> {
  return await logOf('debug', (events) => {
    events.publish('settled', event);
    if (event.error !== null) events.publish('error', { ...event, error: event.error });
  });
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
      assert.equal(events.listenerCount('error'), 0);
      assert.equal(events.listenerCount('engine-log'), 0);
    });
  });

  test('silent listens to nothing at all', async () => {
    await logOf('silent', (events) => assert.deepEqual(events.eventNames(), []));
  });

  test('a failure of ours is told with its message', async () => {
    const [line = ''] = await logOf('info', (events) =>
      events.publish('settled', failure('queue_full', 'Too many wait.')),
    );
    assert.match(line, /"level":"warn".*"code":"queue_full".*Too many wait\./);
  });

  test('a cancelled request is not worth a line at info', async () => {
    assert.deepEqual(await logOf('info', (events) => events.publish('settled', failure('cancelled', 'Gone.'))), []);
  });

  test('a request is told once, at its end, with the ids of request and trace', async () => {
    const trace = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', traceparent: '' };
    for (const event of [settled, failure('queue_full', 'Too many wait.'), failure('cancelled', 'Gone.')]) {
      const lines = await tell({ ...event, trace });
      assert.equal(lines.length, 1, lines.join(''));
      assert.match(lines[0] ?? '', /"id":"r1","traceId":"4bf92f3577b34da6a3ce929d0e0e4736"/);
    }
    assert.doesNotMatch((await tell(settled)).join(''), /trace/);
  });

  test('a request that is refused before it enters is told only to those who ask for everything', async () => {
    const error = new LlameroError('invalid_api_key', `No key, but ${SECRET}.`);
    const emit = (events: LlameroEmitter) => events.publish('request-refused', { id: 'r1', route: 'chat', error });
    assert.deepEqual(await logOf('info', emit), []);
    const [line = ''] = await logOf('debug', emit);
    const { id, route, code, status } = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual([id, route, code, status], ['r1', 'chat', 'invalid_api_key', 401]);
    assert.ok(!line.includes(SECRET));
  });

  test('the last lines are kept for those who ask, a bounded number of them, and none below info', async () => {
    const destination = { write: () => undefined };
    const log = await createLog({ level: 'trace', format: 'pretty', terminal: false, destination });
    for (let number = 1; number <= 600; number++) {
      log.logger.debug({ number }, 'fine');
      log.logger.info({ number, long: 'x'.repeat(5000) }, 'coarse');
    }
    const lines = log.recentLines();
    assert.equal(lines.length, 500);
    assert.match(lines[0] ?? '', /"number":101,/);
    assert.match(lines.at(-1) ?? '', /"number":600,/);
    assert.ok(lines.every((line) => line.length <= 2001));
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
      const lines = await logOf('trace', (events) => events.publish('settled', error));
      assert.equal(lines.length, 1);
      assert.ok(!lines.join('').includes(SECRET), lines.join(''));
    });
  }

  test('a stream that broke off with an error of the engine', async () => {
    const error = failure('stream_interrupted', SECRET, new LlameroError('engine_error', SECRET));
    assert.ok(!(await logOf('trace', (events) => events.publish('settled', error))).join('').includes(SECRET));
    const lost = failure('stream_interrupted', 'llama-server crashed.', new Error('socket hang up'));
    assert.match((await logOf('info', (events) => events.publish('settled', lost))).join(''), /llama-server crashed/);
  });

  test('an unexpected failure is located all the same', async () => {
    const error = failure('internal_error', 'Unexpected failure.', new TypeError(SECRET));
    const [line = ''] = await logOf('info', (events) => events.publish('settled', error));
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

function emitLine(events: LlameroEmitter): void {
  events.publish('engine-log', { generation: 1, line: 'hello' });
}

describe("the engine's own log", () => {
  const STARTED = [
    "0.00.022.810 I srv    load_model: loading model '/models/m.gguf'",
    '0.00.079.140 I srv  llama_server: listening on unix:///run/engine.sock',
  ];
  const HARMLESS = [
    '0.00.133.505 I slot get_availabl: id  3 | task -1 | selected slot by LRU, t_last = -1',
    '/src/ggml/src/ggml.c:123: GGML_ASSERT(n > 0) failed',
    'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1 MiB on device 0: cudaMalloc failed: out of memory',
    "terminate called after throwing an instance of 'std::runtime_error'",
    '#1  0x00007f0 in ggml_abort',
  ];
  const QUOTING = [
    "parse: error parsing grammar: expecting ')' at",
    `root ::= ${SECRET} ("a"`,
    `0.00.165.821 W srv    operator(): got exception: {"error":{"message":"out of memory at ${SECRET}"}}`,
    `  what():  Unexpected empty grammar stack after accepting piece: ${SECRET}`,
    `0.1 I slot update_slots: id 0 | ${SECRET}`,
  ];

  test('of what it said while it took requests only the harmless is kept', () => {
    const kept = harmlessEngineLog([...STARTED, ...HARMLESS, ...QUOTING], true);
    assert.deepEqual(kept.slice(0, -1), [...STARTED, ...HARMLESS]);
    assert.match(kept.at(-1) ?? '', /^\(5 lines that may quote requests/);
    assert.deepEqual(harmlessEngineLog([`#2  0xabc in parse (text="${SECRET}")`], true), ['#2  0xabc in parse']);
  });

  test('of an engine that never took any everything is kept', () => {
    assert.deepEqual(harmlessEngineLog(['error: unknown argument: --no-such'], false), [
      'error: unknown argument: --no-such',
    ]);
  });

  test('an engine that crashed at work is told without what may quote requests', async () => {
    const lines = await logOf('trace', (events) => {
      events.publish('engine-ready', { generation: 1, startMs: 1, slots: 1, contextLength: 1, model: 'm' });
      events.publish('engine-log', { generation: 1, line: QUOTING[1] ?? '' });
      events.publish('engine-exit', { ...exitEvent, expected: false, log: [...STARTED, ...QUOTING] });
    });
    assert.ok(!lines.join('').includes(SECRET), lines.join(''));
    assert.ok(lines.join('').includes('listening on unix'));
  });

  test('is written where it is asked for', async () => {
    assert.deepEqual(await logOf('trace', emitLine), []);
    assert.match((await logOf('debug', emitLine, 'json', { engineLog: true })).join(''), /"engine":"hello"/);
  });
});
