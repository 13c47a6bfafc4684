import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { createProgressDisplay, type ProgressStream } from '../progress.ts';

function capture(terminal: boolean): { stream: ProgressStream; text: () => string } {
  const stream = Object.assign(new PassThrough(), {
    isTTY: terminal,
    columns: 80,
    // What cli-progress asks of a terminal.
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
  });
  const chunks: string[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  return { stream, text: () => chunks.join('') };
}

describe('progress without a terminal', () => {
  it('writes a line when a step begins, then one every 10 percent, and one at the end', () => {
    const { stream, text } = capture(false);
    const display = createProgressDisplay(stream);
    for (let percent = 0; percent <= 100; percent += 1) {
      display.update({ step: 'build', fraction: percent / 100, message: 'Building' });
    }
    display.done();
    const expected = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((percent) => `Building ${percent}%`);
    assert.deepEqual(text().trim().split('\n'), expected);
  });

  it('writes every note, and a waiting line only now and then', () => {
    const { stream, text } = capture(false);
    const display = createProgressDisplay(stream);
    for (let seconds = 0; seconds < 4; seconds += 1) {
      display.update({ step: 'wait', fraction: null, message: `waiting (${seconds} s)` });
    }
    display.update({ step: 'note', fraction: null, message: 'one' });
    display.update({ step: 'note', fraction: null, message: 'two' });
    display.done();
    assert.equal(text(), 'waiting (0 s)\none\ntwo\n');
  });
});

describe('progress on a terminal', () => {
  it('draws a bar with percentage and message, and leaves no timer behind', () => {
    const { stream, text } = capture(true);
    const display = createProgressDisplay(stream);
    display.update({ step: 'note', fraction: null, message: 'Asking github.com' });
    display.update({ step: 'download', fraction: 0.5, message: 'Downloading' });
    display.update({ step: 'download', fraction: 1, message: 'Downloading' });
    display.done();
    display.done();
    assert.match(text(), /^Asking github\.com\n/);
    assert.match(text(), /█+ 100% Downloading/);
  });

  it('shows how long it waits in one line', () => {
    const { stream, text } = capture(true);
    const display = createProgressDisplay(stream);
    for (const seconds of [1, 2]) {
      display.update({ step: 'wait', fraction: null, message: `waiting (${seconds} s)` });
    }
    display.update({ step: 'note', fraction: null, message: 'one' });
    display.update({ step: 'note', fraction: null, message: 'two' });
    display.done();
    assert.equal(text(), 'waiting (1 s)\r\u001B[2Kwaiting (2 s)\none\ntwo\n');
  });
});
