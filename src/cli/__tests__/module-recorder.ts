/**
 * Loaded with `--import` into a program under test: writes every package of OpenTelemetry that it loads, by name, into the file
 * LOADED_MODULES, and pretends that the packages in MISSING_MODULES (names with commas between) are not installed.
 */
import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

const file = process.env['LOADED_MODULES'];
const missing = (process.env['MISSING_MODULES'] ?? '').split(',');

registerHooks({
  resolve(specifier, context, next) {
    if (missing.includes(specifier)) {
      throw Object.assign(new Error(`Cannot find package '${specifier}'`), { code: 'ERR_MODULE_NOT_FOUND' });
    }
    const found = next(specifier, context);
    const name = /@opentelemetry\/[\w-]+/.exec(found.url)?.[0];
    if (file !== undefined && name !== undefined) appendFileSync(file, `${name}\n`);
    return found;
  },
});
