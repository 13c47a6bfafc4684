/** `npm run docs:dashboard`: writes deploy/grafana/llamero-dashboard.json. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeDashboard } from './make-dashboard.ts';

const FILE = path.resolve(import.meta.dirname, '../../deploy/grafana/llamero-dashboard.json');

writeFileSync(FILE, `${JSON.stringify(makeDashboard(), null, 2)}\n`);
