/**
 * `npm run docs:alerts`: writes the tables of docs/alerts.md anew, between their marks, from the definitions of the alerts.
 * A test looks whether that has been done.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withAlertTables } from '../src/telemetry/alerts/alert-docs.ts';

const file = join(import.meta.dirname, '../docs/alerts.md');
writeFileSync(file, withAlertTables(readFileSync(file, 'utf8')));
