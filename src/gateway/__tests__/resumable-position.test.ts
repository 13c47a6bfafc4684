import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it } from 'node:test';
import { LlameroError } from '../../core/errors.ts';
import { positionOf, wantsResumable } from '../resumable-position.ts';

interface Case {
  name: string;
  headers?: IncomingHttpHeaders;
  path?: string;
  query?: string;
  position: [streamId: string, offset: number] | null;
}

const CASES: Case[] = [
  { name: 'nothing', position: null },
  { name: 'an offset of nothing', headers: { 'x-stream-offset': '5' }, position: null },
  { name: 'an empty event id', headers: { 'last-event-id': '' }, position: null },
  { name: 'a stream, from its beginning', headers: { 'x-stream-id': 'a' }, position: ['a', 0] },
  { name: 'a stream and an offset', headers: { 'x-stream-id': 'a', 'x-stream-offset': '17' }, position: ['a', 17] },
  { name: 'an event', headers: { 'last-event-id': 'a-_9:42' }, position: ['a-_9', 42] },
  {
    name: 'an event, newer than the offset of the first return',
    headers: { 'last-event-id': 'a:42', 'x-stream-id': 'a', 'x-stream-offset': '17' },
    position: ['a', 42],
  },
  { name: 'a path', path: 'a', position: ['a', 0] },
  { name: 'a path and an offset', path: 'a', headers: { 'x-stream-offset': '3' }, position: ['a', 3] },
  { name: 'an offset in the query', path: 'a', query: '?offset=9&x=1', position: ['a', 9] },
  {
    name: 'an event behind it',
    path: 'a',
    query: '?offset=9',
    headers: { 'last-event-id': 'a:12' },
    position: ['a', 12],
  },
];

const CONTRADICTIONS: { name: string; headers: IncomingHttpHeaders; path?: string; query?: string }[] = [
  { name: 'two streams', headers: { 'x-stream-id': 'a', 'last-event-id': 'b:1' } },
  { name: 'another stream than the path', headers: { 'x-stream-id': 'a' }, path: 'b' },
  { name: 'an event of another stream than the path', headers: { 'last-event-id': 'a:1' }, path: 'b' },
  { name: 'an event of somebody else', headers: { 'last-event-id': '17' } },
  { name: 'a negative offset', headers: { 'x-stream-id': 'a', 'x-stream-offset': '-1' } },
  { name: 'an offset that is none', headers: { 'x-stream-id': 'a', 'x-stream-offset': '1e3' } },
  { name: 'an offset in the query that is none', headers: {}, path: 'a', query: '?offset=x' },
];

describe('where a client wants to go on', () => {
  for (const { name, headers = {}, path = null, query = '', position } of CASES) {
    it(`is read from ${name}`, () => {
      const found = positionOf(headers, path, query);
      assert.deepEqual(found === null ? null : [found.streamId, found.offset], position);
    });
  }

  for (const { name, headers, path = null, query = '' } of CONTRADICTIONS) {
    it(`is refused for ${name}`, () => {
      assert.throws(
        () => positionOf(headers, path, query),
        (error) => error instanceof LlameroError && error.code === 'invalid_request',
      );
    });
  }

  it('is wanted by true, and not by false', () => {
    assert.equal(wantsResumable('true'), true);
    assert.equal(wantsResumable('false'), false);
    assert.throws(() => wantsResumable('yes'), { code: 'invalid_request' });
  });
});
