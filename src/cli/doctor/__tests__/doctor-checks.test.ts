import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { estimateMemory } from '../../../core/engine/model/estimate-memory.ts';
import type { GgufFacts } from '../../../core/engine/model/gguf-facts.ts';
import { describeChecks } from '../../commands/doctor.ts';
import { doctorChecks } from '../doctor-checks.ts';
import type { Check } from '../doctor-checks.ts';
import type { DoctorFacts } from '../doctor-facts.ts';

const GB = 1e9;
const MODEL: GgufFacts = {
  architecture: 'llama',
  name: 'Llama 8B',
  parameters: 8.03e9,
  quantisation: 'Q4_K_M',
  layers: 32,
  heads: 32,
  kvHeads: Array.from({ length: 32 }, () => 8),
  keyLength: 128,
  valueLength: 128,
  latentAttention: false,
  embeddingLength: 4096,
  feedForwardLength: 14336,
  contextLength: 8192,
  vocabulary: 128256,
  chatTemplate: true,
  poolingType: null,
  tensors: 292,
  weightsBytes: 4.9 * GB,
  fileBytes: 4.92 * GB,
  parts: 1,
};

const HEALTHY: DoctorFacts = {
  machine: {
    nodeVersion: 'v24.1.0',
    cores: 8,
    memory: { totalBytes: 32 * GB, availableBytes: 20 * GB, limitBytes: null },
    openFiles: 1_048_576,
    cache: { ok: true, value: { directory: '/cache', freeBytes: 100 * GB } },
  },
  engine: { ok: true, value: { path: '/bin/llama-server', origin: 'path', version: '0.5.0', build: 1, commit: 'abc' } },
  toolchain: null,
  configuration: { ok: true, value: { fileName: null } },
  model: modelOf({}),
  port: { host: '127.0.0.1', port: 8080, named: false, refused: null },
};

function modelOf(facts: Partial<GgufFacts>, ctxSize = 4096): DoctorFacts['model'] {
  const all = { ...MODEL, ...facts };
  return {
    ok: true,
    value: {
      inspected: { facts: all, location: '/m.gguf', local: true },
      parallel: 4,
      ctxSize,
      memory: estimateMemory(all, { parallel: 4, ctxSize }),
    },
  };
}

const machine = (change: Partial<DoctorFacts['machine']>): Partial<DoctorFacts> => ({
  machine: { ...HEALTHY.machine, ...change },
});

const NO_ENGINE = { ok: true, value: null } as const;
const TABLE: [string, Partial<DoctorFacts>, Check['name'], Check['status'], RegExp][] = [
  ['an old Node', machine({ nodeVersion: 'v20.1.0' }), 'node', 'problem', /too old.*Install Node 22\.19/s],
  ['a just too old Node', machine({ nodeVersion: 'v22.18.0' }), 'node', 'problem', /too old/],
  ['the oldest Node', machine({ nodeVersion: 'v22.19.0' }), 'node', 'ok', /v22/],
  ['few open files', machine({ openFiles: 1024 }), 'open files', 'warning', /ulimit -n/],
  [
    'little disk',
    machine({ cache: { ok: true, value: { directory: '/c', freeBytes: GB } } }),
    'cache',
    'warning',
    /1\.00 GB free.*LLAMERO_CACHE_DIR/s,
  ],
  [
    'a cache without rights',
    machine({ cache: { ok: false, message: '/c cannot be written (EACCES)' } }),
    'cache',
    'problem',
    /EACCES.*LLAMERO_CACHE_DIR/s,
  ],
  ['a refused engine', { engine: { ok: false, message: 'too old' } }, 'engine', 'problem', /too old/],
  [
    'no engine, but tools',
    { engine: NO_ENGINE, toolchain: { ok: true, value: null } },
    'engine',
    'warning',
    /llamero engine install/,
  ],
  [
    'neither engine nor tools',
    { engine: NO_ENGINE, toolchain: { ok: false, message: 'needs CMake: apt-get install cmake' } },
    'engine',
    'problem',
    /apt-get install cmake/,
  ],
  [
    'a broken configuration',
    { configuration: { ok: false, message: 'Invalid llamero.yaml:\n  port: bad' } },
    'configuration',
    'problem',
    /port: bad/,
  ],
  ['a missing model', { model: { ok: false, message: 'There is no model' } }, 'model', 'problem', /no model/],
  ['no model', { model: null }, 'model', 'ok', /built-in/],
  [
    'a model for a larger machine',
    { model: modelOf({ weightsBytes: 70 * GB }) },
    'memory',
    'problem',
    /too large.*smaller quantisation/s,
  ],
  [
    'a container limit',
    machine({ memory: { totalBytes: 32 * GB, availableBytes: 4 * GB, limitBytes: 4 * GB } }),
    'memory',
    'problem',
    /too large/,
  ],
  [
    'little available memory',
    machine({ memory: { totalBytes: 32 * GB, availableBytes: 4 * GB, limitBytes: null } }),
    'memory',
    'warning',
    /tight/,
  ],
  ['a long context', { model: modelOf({}, 16_384) }, 'context', 'warning', /trained for 8192.*--ctx-size 8192/s],
  ['no chat template', { model: modelOf({ chatTemplate: false }) }, 'chat template', 'warning', /--chat-template/],
  [
    'a taken default port',
    { port: { host: '::1', port: 80, named: false, refused: 'EADDRINUSE' } },
    'port',
    'warning',
    /next free one/,
  ],
  [
    'a taken named port',
    { port: { host: '::1', port: 80, named: true, refused: 'EADDRINUSE' } },
    'port',
    'problem',
    /--port auto/,
  ],
  [
    'a forbidden port',
    { port: { host: '::1', port: 80, named: true, refused: 'EACCES' } },
    'port',
    'problem',
    /EACCES.*above 1023/s,
  ],
];

describe('doctorChecks', () => {
  it('finds nothing on a healthy machine', () => {
    const checks = doctorChecks(HEALTHY);
    assert.deepEqual(
      checks.filter((check) => check.status !== 'ok'),
      [],
    );
    assert.match(describeChecks(checks), /All is well\.$/);
  });

  for (const [name, change, check, status, pattern] of TABLE) {
    it(`judges ${name}`, () => {
      const found = doctorChecks({ ...HEALTHY, ...change }).find((candidate) => candidate.name === check);
      assert.equal(found?.status, status);
      assert.match(`${found?.message}\n${found?.remedy ?? ''}`, pattern);
    });
  }

  it('leaves out what does not apply', () => {
    const names = doctorChecks({ ...HEALTHY, ...machine({ openFiles: null }), engine: null, port: null }).map(
      (check) => check.name,
    );
    assert.deepEqual(names, [
      'node',
      'machine',
      'cache',
      'configuration',
      'model',
      'memory',
      'context',
      'chat template',
    ]);
  });

  it('counts problems and warnings', () => {
    const checks = doctorChecks({ ...HEALTHY, model: modelOf({ weightsBytes: 70 * GB, chatTemplate: false }) });
    assert.match(describeChecks(checks), /PROBLEM +memory.*1 problem to solve\.$/s);
  });
});
