import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | null = null;

/** Runs a full garbage collection, which V8 by itself puts off for as long as its own, much larger limit is far. */
export function collectGarbage(): void {
  if (collect === null) {
    // Contexts made after this flag was set have a `gc`; the flag itself costs nothing.
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
