import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERROR_CODES } from '../../core/errors.ts';
import { ENGINE_ROUTES } from '../../core/openai/routes.ts';
import { openApiDocument } from '../openapi.ts';
import { OWN_PATHS } from '../route-index.ts';

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string }[];
  responses: Record<string, { $ref?: string; description?: string; headers?: Record<string, unknown> }>;
}

describe('the OpenAPI document', () => {
  const document = JSON.parse(JSON.stringify(openApiDocument())) as {
    openapi: string;
    info: { title: string; version: string };
    paths: Record<string, Record<string, Operation>>;
    components: Record<string, Record<string, unknown>>;
  };
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));

  it('has every route, and each once', () => {
    assert.match(document.openapi, /^3\.1\.\d+$/);
    assert.match(document.info.version, /^\d+\.\d+\.\d+/);
    for (const { method, path } of ENGINE_ROUTES.values()) {
      assert.ok(document.paths[path]?.[method.toLowerCase()], `${method} ${path}`);
    }
    for (const path of OWN_PATHS) assert.ok(document.paths[path]?.['get'], path);
    const ids = operations.map(({ operationId }) => operationId);
    assert.equal(new Set(ids).size, ids.length);
  });

  it('names every error code that a client can get', () => {
    const text = JSON.stringify(document.paths);
    for (const code of Object.keys(ERROR_CODES)) {
      const isOurs = ['cancelled', 'install_failed', 'invalid_options'].includes(code);
      assert.equal(text.includes(`\`${code}\``), !isOurs, code);
    }
  });

  it('is well-formed: responses described, path parameters declared, references resolved', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const { parameters = [], responses } of Object.values(methods)) {
        assert.ok(Object.keys(responses).length > 0);
        for (const [status, response] of Object.entries(responses)) {
          assert.match(status, /^[1-5]\d\d$/);
          assert.ok(response.$ref ?? response.description, `${path} ${status}`);
        }
        for (const [, name] of path.matchAll(/\{(\w+)\}/g)) {
          assert.ok(parameters.some((parameter) => parameter.name === name && parameter.in === 'path'));
        }
      }
    }
    for (const [, pointer = ''] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      let target: unknown = document;
      for (const key of pointer.split('/')) target = (target as Record<string, unknown>)[key];
      assert.ok(target, pointer);
    }
  });

  it('documents Retry-After where it is sent', () => {
    const chat = document.paths['/v1/chat/completions']?.['post'];
    for (const status of ['429', '503']) assert.ok(chat?.responses[status]?.headers?.['retry-after']);
  });
});
