import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkHazards } from '../engine-hazards.ts';

const groups = (levels: number) => `root ::= ${'('.repeat(levels)}"a"${')'.repeat(levels)}`;

describe('hazards for the engine', () => {
  const refused: [name: string, fields: Record<string, unknown>, param: string][] = [
    ['penalties over a gigantic range', { repeat_last_n: 2_147_483_647 }, 'repeat_last_n'],
    ['DRY over a gigantic range', { dry_penalty_last_n: 1e9 }, 'dry_penalty_last_n'],
    ['a range that overflows', { dry_penalty_last_n: Infinity }, 'dry_penalty_last_n'],
    [
      'many sequence breakers',
      { dry_sequence_breakers: Array.from({ length: 65 }, () => 'x') },
      'dry_sequence_breakers',
    ],
    ['deep grammar groups', { grammar: groups(201) }, 'grammar'],
    ['a gigantic grammar', { grammar: 'x'.repeat(300_000) }, 'grammar'],
    ['a pattern trigger', { grammar_triggers: [{ type: 1 }, { type: 2, value: '(a+)+b' }] }, 'grammar_triggers'],
    ['a full pattern trigger', { grammar_triggers: [{ type: 3, value: 'x' }] }, 'grammar_triggers'],
    ['a pattern by rounding', { grammar_triggers: [{ type: 2.5, value: 'x' }] }, 'grammar_triggers'],
  ];
  for (const [name, fields, param] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => checkHazards(fields), { code: 'invalid_request', param });
    });
  }

  it('leaves everything else to the engine', () => {
    for (const fields of [
      {},
      { repeat_last_n: 1_048_576, dry_penalty_last_n: -1 },
      { repeat_last_n: 'x', grammar: 5, grammar_triggers: 'x', dry_sequence_breakers: 1 },
      { grammar: `${groups(200)} ${'()'.repeat(1000)}` },
      { grammar_triggers: [{ type: 0 }, { type: 1, value: 'tool' }, null, 'x', {}] },
      { dry_sequence_breakers: ['\n', ':'] },
    ]) {
      checkHazards(fields);
    }
  });
});
