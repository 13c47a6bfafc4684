import { resolveModel } from '../resolve-model.ts';

/** A program of its own that resolves the model it is given and prints what it got: `download-process.ts REFERENCE CACHE`. */
const [reference = '', cache = ''] = process.argv.slice(2);
const model = await resolveModel({ reference, env: { LLAMERO_CACHE_DIR: cache } });
process.stdout.write(JSON.stringify(model));
