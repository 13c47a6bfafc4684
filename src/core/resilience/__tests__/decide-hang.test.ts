import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decideHang, type HangDecision, hangEvidence, type HangLook, type HangObservation } from '../decide-hang.ts';

const LIMITS = { idleMs: 30_000, firstTokenMs: 60_000 };

/** A stream in decode that has just been silent for too long, on an engine that serves nobody else. */
const SILENT: HangObservation = {
  longestSilenceMs: 30_000,
  engineSilenceMs: 30_000,
  decoding: true,
  reading: false,
  sinceLookMs: Infinity,
  look: null,
};
const reading = { decoding: false, reading: true };
const look = (slots: HangLook['slots'], process: HangLook['process'] = 'unknown') => ({ look: { slots, process } });
const silentFor = (ms: number) => ({ longestSilenceMs: ms, engineSilenceMs: ms });

describe('the decision that an engine hangs', () => {
  const table: [name: string, seen: Partial<HangObservation>, decision: HangDecision][] = [
    ['nobody silent', silentFor(29_999), 'alive'],
    ['nobody there', { longestSilenceMs: -1 }, 'alive'],
    ['silence is looked into', {}, 'ask'],
    ['also that of a prompt', reading, 'ask'],
    ['though not too often', { sinceLookMs: 1499 }, 'wait'],
    ['but again', { sinceLookMs: 1500 }, 'ask'],

    ['a stopped process', look('silent', 'frozen'), 'hang'],
    ['a stopped process during a prompt', { ...reading, ...look('silent', 'frozen') }, 'hang'],
    ['a process that was stopped just now', { engineSilenceMs: 900, ...look('silent', 'frozen') }, 'wait'],

    ['counters that advance', look('advanced'), 'alive'],
    ['counters that advance, after any time', { ...silentFor(500_000), ...look('advanced') }, 'alive'],
    ['counters seen for the first time', look('first'), 'wait'],
    ['counters seen for the first time, however late', { ...silentFor(500_000), ...look('first') }, 'wait'],
    ['counters that stand still', look('unchanged'), 'wait'],
    ['counters that stand still during a prompt', { ...reading, ...look('unchanged') }, 'wait'],
    ['counters that stand still for too long', { ...silentFor(60_000), ...look('unchanged') }, 'hang'],
    [
      'the same during a prompt, which includes a batch that takes for ever',
      { ...reading, ...silentFor(60_000), ...look('unchanged') },
      'hang',
    ],

    ['decoding, no answer', look('silent'), 'hang'],
    ['decoding, no answer, process idle', look('silent', 'idle'), 'hang'],
    ['decoding alone is no large batch', look('silent', 'busy'), 'hang'],
    ['decoding beside a prompt that keeps the process busy', { reading: true, ...look('silent', 'busy') }, 'wait'],
    ['the same for too long', { reading: true, ...silentFor(60_000), ...look('silent', 'busy') }, 'hang'],
    ['decoding beside a prompt, process idle', { reading: true, ...look('silent', 'idle') }, 'hang'],
    ['decoding beside a prompt, process unknown', { reading: true, ...look('silent') }, 'hang'],
    ['no answer, but others have events', { engineSilenceMs: 900, ...look('silent') }, 'wait'],
    ['no answer, process idle, but others have events', { engineSilenceMs: 900, ...look('silent', 'idle') }, 'wait'],

    ['a prompt, no answer, process busy', { ...reading, ...look('silent', 'busy') }, 'wait'],
    [
      'a prompt, no answer, process busy, nearly for too long',
      { ...reading, ...silentFor(59_999), ...look('silent', 'busy') },
      'wait',
    ],
    [
      'a prompt, no answer, process busy, for too long',
      { ...reading, ...silentFor(60_000), ...look('silent', 'busy') },
      'hang',
    ],
    ['a prompt, no answer, process idle', { ...reading, ...look('silent', 'idle') }, 'hang'],
    ['a prompt, no answer, process unknown', { ...reading, ...look('silent') }, 'wait'],
    [
      'a prompt, no answer, process unknown, for too long',
      { ...reading, ...silentFor(60_000), ...look('silent') },
      'hang',
    ],
  ];
  for (const [name, seen, decision] of table) {
    it(`${name}: ${decision}`, () => {
      assert.equal(decideHang({ ...SILENT, ...seen }, LIMITS), decision);
    });
  }

  it('a limit of the first token below that of silence changes nothing', () => {
    const limits = { idleMs: 30_000, firstTokenMs: 1000 };
    const seen = { ...SILENT, ...reading, ...look('silent', 'busy') };
    assert.equal(decideHang({ ...seen, ...silentFor(29_999) }, limits), 'alive');
    assert.equal(decideHang(seen, limits), 'hang');
  });

  it('tells what speaks for it', () => {
    const words: [HangLook, RegExp][] = [
      [{ slots: 'silent', process: 'frozen' }, /process is stopped/],
      [{ slots: 'silent', process: 'idle' }, /\/slots is not answered.*does nothing/],
      [{ slots: 'silent', process: 'unknown' }, /\/slots is not answered$/],
      [{ slots: 'unchanged', process: 'unknown' }, /stand still/],
    ];
    for (const [shown, pattern] of words) assert.match(hangEvidence(shown), pattern);
  });
});
