import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ExitCauseName } from '../../events.ts';
import { exitCauseOf, type ProcessEnd, spawnFailureCause } from '../exit-cause.ts';

const QUIET: ProcessEnd = { code: 1, signal: null, log: [], stopping: false, startupTimedOut: false, oomKilled: false };

describe('the cause of an exit', () => {
  const table: [name: string, end: Partial<ProcessEnd>, cause: ExitCauseName, final: boolean][] = [
    ['stopped on request', { code: 0, stopping: true }, 'stopped', false],
    ['killed at the end of the ladder', { code: null, signal: 'SIGKILL', stopping: true }, 'stopped', false],
    ['no progress', { code: null, signal: 'SIGKILL', startupTimedOut: true }, 'startup_timeout', false],
    [
      'missing file',
      {
        log: [
          "E gguf_init_from_file: failed to open GGUF file '/x.gguf' (No such file or directory)",
          'failed to load model',
        ],
      },
      'model_missing',
      true,
    ],
    [
      'other bytes',
      { log: ["gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'", 'failed to load model'] },
      'model_not_gguf',
      true,
    ],
    ['no bytes', { log: ['gguf_init_from_reader: failed to read magic'] }, 'model_not_gguf', true],
    [
      'architecture',
      { log: ["error loading model: error loading model architecture: unknown model architecture: 'foo'"] },
      'model_unknown_architecture',
      true,
    ],
    [
      'damaged',
      { log: ['llama_model_load: error loading model: tensor data is not within the file bounds'] },
      'model_invalid',
      true,
    ],
    [
      'bad_alloc',
      { code: null, signal: 'SIGABRT', log: ['terminate called after throwing', 'what():  std::bad_alloc'] },
      'out_of_memory',
      false,
    ],
    [
      'allocation',
      { log: ['ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99999'] },
      'out_of_memory',
      false,
    ],
    ['CUDA memory', { log: ['cudaMalloc failed: out of memory'] }, 'out_of_memory', false],
    ['OOM killer', { code: null, signal: 'SIGKILL', oomKilled: true }, 'killed_by_system', false],
    ['SIGKILL by hand', { code: null, signal: 'SIGKILL' }, 'killed', false],
    ['assertion', { code: null, signal: 'SIGABRT', log: ['ggml.c:1: GGML_ASSERT(a == b) failed'] }, 'assertion', false],
    ['abort without a word', { code: null, signal: 'SIGABRT' }, 'assertion', false],
    ['segmentation fault', { code: null, signal: 'SIGSEGV' }, 'segmentation_fault', false],
    ['bus error', { code: null, signal: 'SIGBUS' }, 'segmentation_fault', false],
    ['segmentation fault on Windows', { code: 0xc0000005 }, 'segmentation_fault', false],
    ['illegal instruction', { code: null, signal: 'SIGILL' }, 'illegal_instruction', true],
    ['illegal instruction on Windows', { code: 0xc000001d }, 'illegal_instruction', true],
    ['port', { log: ["couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080"] }, 'port_taken', false],
    ['option', { log: ['error: invalid argument: --bogus-option'] }, 'wrong_option', true],
    ['other signal', { code: null, signal: 'SIGTERM' }, 'signal', false],
    ['missing library', { code: 127 }, 'not_executable', true],
    ['unknown', { code: 3 }, 'exit', false],
    [
      'a kill after an old log line',
      { code: null, signal: 'SIGKILL', log: ['slot: out of memory was mentioned in a prompt'] },
      'killed',
      false,
    ],
  ];
  for (const [name, end, cause, final] of table) {
    it(`${name}: ${cause}`, () => {
      const result = exitCauseOf({ ...QUIET, ...end });
      assert.equal(result.name, cause);
      assert.equal(result.final, final);
      assert.match(result.message, /^\S.*\.$/);
      assert.doesNotMatch(result.message, /\/x\.gguf/, 'messages may cross HTTP and name no files');
    });
  }

  it('names a command that cannot be spawned', () => {
    assert.deepEqual(spawnFailureCause(Object.assign(new Error('no'), { code: 'ENOENT' })).name, 'not_executable');
  });
});
