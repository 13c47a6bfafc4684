import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configJsonSchema, type ConfigInput, parseConfig } from '../config.ts';
import { LlameroError } from '../errors.ts';

describe('the configuration', () => {
  it('has the documented defaults', () => {
    const config = parseConfig({});
    assert.deepEqual(config.retry, {
      maxRetries: 3,
      retryDelay: 1000,
      backoffMultiplier: 2,
      retryableErrors: ['ECONNREFUSED', 'ETIMEDOUT', '503'],
    });
    assert.deepEqual(config.circuitBreaker, { failureThreshold: 5, resetTimeout: 30_000, halfOpenRequests: 2 });
    assert.deepEqual(config.cleanup, { interval: 300_000, maxAge: 600_000 });
    assert.deepEqual(config.timeouts, { queue: 30_000, connect: 5_000, firstToken: 60_000, idle: 30_000, total: null });
    assert.deepEqual(
      [config.maxConcurrentRequests, config.maxQueue, config.requestTimeout, config.memoryLimit],
      [10, 100, 60_000, 2048],
    );
    assert.deepEqual(limitsOf({ profile: 'production' }), [60, 1000]);
    assert.deepEqual([config.engine.parallel, config.engine.ctxSize, config.engine.startupTimeout], [4, 4096, 120_000]);
    assert.deepEqual(
      [config.gateway.host, config.gateway.port, config.gateway.bodyLimit],
      ['127.0.0.1', 8080, 16_777_216],
    );
  });

  const mistakes: [input: unknown, message: RegExp][] = [
    [{ engine: { paralel: 4 } }, /engine\.paralel: unknown key/],
    [{ engine: { parallel: 'four' } }, /engine\.parallel: expected a number, came "four"/],
    [{ engine: { ctxSize: 1.5 } }, /engine\.ctxSize: expected a whole number, came 1\.5/],
    [{ engine: { parallel: 0 } }, /engine\.parallel: expected at least 1, came 0/],
    [{ engine: { port: 'any' } }, /engine\.port: expected "auto" or a number, came "any"/],
    [{ profile: 'fast' }, /profile: expected "auto" or "local" or "production", came "fast"/],
    [{ gateway: { port: 70_000 } }, /gateway\.port: expected at most 65535, came 70000/],
    [{ gateway: { corsOrigins: ['a', 1] } }, /gateway\.corsOrigins\[1\]: expected a string, came 1/],
    [{ engineUrl: 'ftp://host' }, /engineUrl: expected/],
    [{ model: '' }, /model: expected a text that is not empty, came ""/],
    ['text', /\(root\): expected an? object, came "text"/],
  ];
  for (const [input, message] of mistakes) {
    it(`refuses ${JSON.stringify(input)}`, () => {
      assert.throws(
        () => parseConfig(input),
        (error) => {
          assert.ok(error instanceof LlameroError);
          assert.equal(error.code, 'invalid_options');
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it('names every mistake at once, and where the input came from', () => {
    assert.throws(
      () => parseConfig({ a: 1, maxQueue: -1 }, 'llamero.yaml'),
      /^LlameroError: Invalid llamero\.yaml:\n {2}maxQueue.*\n {2}a: unknown key/,
    );
  });

  it('has a JSON Schema with a description for every key that has one', () => {
    const schema = JSON.stringify(configJsonSchema());
    assert.match(schema, /Context length of one slot/);
    assert.match(schema, /"additionalProperties":false/);
  });
});

describe('request limits', () => {
  const tables: [string, ConfigInput, unknown[]][] = [
    ['hold in production', { profile: 'production' }, [60, 1000]],
    ['hold beyond loopback', { gateway: { host: '0.0.0.0' } }, [60, 1000]],
    ["do not hold on one's own machine", {}, [null, null]],
    ['nor where that is asked for', { profile: 'local', gateway: { host: '0.0.0.0' } }, [null, null]],
    ['hold there when somebody wrote them down', { rateLimit: { requestsPerHour: 7 } }, [null, 7]],
    ['can be lifted in production', { profile: 'production', rateLimit: { requestsPerMinute: null } }, [null, 1000]],
  ];
  for (const [what, input, expected] of tables) it(what, () => assert.deepEqual(limitsOf(input), expected));
});

function limitsOf(input: ConfigInput): unknown[] {
  const { rateLimit } = parseConfig(input);
  return [rateLimit.requestsPerMinute, rateLimit.requestsPerHour];
}
