import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isBlamedOnRequests } from '../blame.ts';

describe('which ends of an engine are blamed on its requests', () => {
  const table: [blamed: boolean, causes: readonly string[]][] = [
    [
      true,
      ['segmentation_fault', 'assertion', 'illegal_instruction', 'hung', 'exit', 'out_of_memory', 'killed_by_system'],
    ],
    [
      false,
      ['killed', 'signal', 'stopped', 'memory_limit', 'unreachable', 'startup_timeout', 'port_taken', 'model_invalid'],
    ],
    [false, ['no such cause', 'toString', '']],
  ];
  for (const [blamed, causes] of table)
    for (const cause of causes)
      it(`${cause || '(empty)'}: ${blamed}`, () => assert.equal(isBlamedOnRequests(cause), blamed));

  it('nothing: false', () => assert.equal(isBlamedOnRequests(undefined), false));
});
