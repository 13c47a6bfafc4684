import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runChaos } from '../run-chaos.ts';

const TIMEOUT_MS = 120_000;
/** The run itself; starting, settling and looking at what is left take as long again. */
const DURATION_MS = 8000;
const command = process.env['LLAMA_SERVER_PATH'];
const skip =
  (process.platform === 'win32' && 'signals of POSIX') || (command === undefined && 'there is no llama-server here');

describe('chaos', { skip }, () => {
  it('loses, doubles and keeps nothing, whatever clients and engine do', { timeout: TIMEOUT_MS }, async () => {
    const ledger = await runChaos({
      seed: 4,
      durationMs: DURATION_MS,
      clients: 8,
      faultEveryMs: [500, 2000],
      quietRounds: 1,
      command: command ?? '',
    });
    assert.deepEqual(ledger.violations, []);
    assert.ok(ledger.faults.length >= 2, `only ${ledger.faults.length} faults`);
    assert.ok((ledger.outcomes.get('stream') ?? 0) > 0, 'no stream was answered');
    assert.ok(ledger.deferred.samples > 0, "the engine's own queue was looked at");
  });
});
