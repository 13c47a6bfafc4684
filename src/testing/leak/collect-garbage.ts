import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What is finalised by one collection lets go of more for the next. */
const ROUNDS = 2;

let collect: (() => void) | null = null;

/**
 * Collects everything that is garbage: several full collections with turns of the event loop between them, in which
 * finalisers run and targets of weak references are let go. Works with and without `--expose-gc`.
 */
export async function collectGarbage(): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    await turn();
    fullCollection();
  }
}

function fullCollection(): void {
  if (collect === null) {
    // Contexts made after this flag was set have a `gc`; the flag itself costs nothing.
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
