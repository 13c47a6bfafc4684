/**
 * Preloaded into the tests on a Node that does not know `using`: what is loaded from src/ is what the compiler made of
 * it, as it is with the published package. Addresses stay those of the sources.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

const sources = new URL('../src/', import.meta.url).href;
const compiled = new URL('../dist-tests/', import.meta.url);

registerHooks({
  resolve(specifier, context, nextResolve) {
    const isOurs = context.parentURL?.startsWith(sources) === true && /^\.{1,2}\/.*\.js$/.test(specifier);
    return nextResolve(isOurs ? specifier.replace(/\.js$/, '.ts') : specifier, context);
  },
  load(url, context, nextLoad) {
    if (!url.startsWith(sources) || !url.endsWith('.ts')) return nextLoad(url, context);
    const file = new URL(url.slice(sources.length).replace(/\.ts$/, '.js'), compiled);
    return { format: 'module', source: readFileSync(file, 'utf8'), shortCircuit: true };
  },
});
