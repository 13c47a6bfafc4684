import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventWalk } from '../event-walk.ts';

function walked(text: string): string[][] {
  const run = Buffer.from(text);
  const walk = new EventWalk();
  const events: string[][] = [];
  for (walk.begin(run); walk.next();) {
    const data = run.toString('utf8', walk.dataStart, walk.dataEnd);
    const kind = walk.isDone ? 'done' : walk.hasData ? 'data' : 'other';
    events.push([kind, data, run.toString('utf8', walk.start, walk.end)]);
  }
  return events;
}

test('a run is walked event by event', () => {
  const cases: [string, string[][]][] = [
    ['', []],
    ['data: {}\n\n', [['data', '{}', 'data: {}\n\n']]],
    ['data:{}\r\n\r\n', [['data', '{}', 'data:{}\r\n\r\n']]],
    [
      'data: {"a":1}\n\ndata: [DONE]\n\n',
      [
        ['data', '{"a":1}', 'data: {"a":1}\n\n'],
        ['done', '[DONE]', 'data: [DONE]\n\n'],
      ],
    ],
    ['event: x\ndata: {}\n\n', [['data', '{}', 'event: x\ndata: {}\n\n']]],
    [
      ': ping\n\ndata: {}\n\n',
      [
        ['other', '', ': ping\n\n'],
        ['data', '{}', 'data: {}\n\n'],
      ],
    ],
    [':\n\n', [['other', '', ':\n\n']]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(walked(text), expected, JSON.stringify(text));
});
