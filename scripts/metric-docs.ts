/**
 * `npm run docs:metrics`: writes the tables of docs/metrics.md anew, between their marks, from the catalogue of metrics.
 * A test looks whether that has been done.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withTables } from '../src/telemetry/metric-docs.ts';

const file = join(import.meta.dirname, '../docs/metrics.md');
writeFileSync(file, withTables(readFileSync(file, 'utf8')));
