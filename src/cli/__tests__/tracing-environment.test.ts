import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Config } from '../../core/config.ts';
import { mergeConfiguration } from '../configuration.ts';

const NONE: Config['telemetry']['traces'] = {
  endpoint: null,
  protocol: 'http/protobuf',
  sampleRatio: 1,
  followParent: true,
  serviceName: null,
  exportInterval: 5000,
};
const BASE = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const ENDPOINT = 'http://collector:4318/v1/traces';

function merge(env: NodeJS.ProcessEnv, content: unknown = {}) {
  const file = { name: 'llamero.yaml', content, locate: () => 'llamero.yaml:1' };
  return mergeConfiguration({ flags: {}, env, file, engineArgs: [] }).config.telemetry.traces;
}

describe('the variables of OpenTelemetry', () => {
  const cases: [string, NodeJS.ProcessEnv, Partial<typeof NONE>][] = [
    ['none', {}, {}],
    ['empty ones count as none', { OTEL_EXPORTER_OTLP_ENDPOINT: '', OTEL_TRACES_SAMPLER: '' }, {}],
    ['the address of all signals', BASE, { endpoint: ENDPOINT }],
    ['with a slash', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' }, { endpoint: ENDPOINT }],
    [
      'the address of traces as it is',
      { ...BASE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://t/x' },
      { endpoint: 'https://t/x' },
    ],
    ['the exporter alone', { OTEL_TRACES_EXPORTER: 'otlp' }, { endpoint: 'http://localhost:4318/v1/traces' }],
    ['turned off by the exporter', { ...BASE, OTEL_TRACES_EXPORTER: 'none' }, {}],
    ['turned off altogether', { ...BASE, OTEL_SDK_DISABLED: 'True' }, {}],
    ['the name', { OTEL_SERVICE_NAME: 'chat' }, { serviceName: 'chat' }],
    ['the interval', { OTEL_BSP_SCHEDULE_DELAY: '200' }, { exportInterval: 200 }],
    ['all sampled', { OTEL_TRACES_SAMPLER: 'always_on' }, { followParent: false }],
    ['none sampled', { OTEL_TRACES_SAMPLER: 'always_off' }, { followParent: false, sampleRatio: 0 }],
    ['none but by callers', { OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, { sampleRatio: 0 }],
    [
      'some',
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' },
      { followParent: false, sampleRatio: 0.1 },
    ],
    [
      'some, or by callers',
      { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '.5' },
      { sampleRatio: 0.5 },
    ],
    ['a protocol for which there is no address', { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, {}],
  ];
  for (const [name, env, expected] of cases) {
    test(name, () => {
      assert.deepEqual(merge(env), { ...NONE, ...expected });
    });
  }

  test('go before the file', () => {
    const content = { telemetry: { traces: { endpoint: 'http://other/', sampleRatio: 0.5 } } };
    assert.deepEqual(merge(BASE, content), { ...NONE, endpoint: ENDPOINT, sampleRatio: 0.5 });
    assert.equal(merge({ OTEL_TRACES_EXPORTER: 'none' }, content).endpoint, null);
  });

  const refused: [string, NodeJS.ProcessEnv, RegExp][] = [
    [
      'another protocol',
      { ...BASE, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      /traces\.protocol: expected "http\/protobuf", came "grpc" \(from OTEL_EXPORTER_OTLP_PROTOCOL\)/,
    ],
    [
      'no address',
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' },
      /traces\.endpoint: .*\(from OTEL_EXPORTER_OTLP_ENDPOINT\)/,
    ],
    [
      'another sampler',
      { OTEL_TRACES_SAMPLER: 'jaeger_remote' },
      /sampleRatio: expected a number, came "jaeger_remote" \(from OTEL_TRACES_SAMPLER\)/,
    ],
    [
      'an impossible part',
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' },
      /sampleRatio: expected at most 1, came 2 \(from OTEL_TRACES_SAMPLER_ARG\)/,
    ],
  ];
  for (const [name, env, message] of refused) {
    test(`${name} is refused`, () => {
      assert.throws(() => merge(env), { code: 'invalid_options', message });
    });
  }
});
