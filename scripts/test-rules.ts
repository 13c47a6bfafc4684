/**
 * `npm run test:rules`: what Prometheus' own tool says of deploy/prometheus, its unit tests of the alerts included. Exit code 1
 * when something fails, or when there is no promtool.
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const folder = join(resolve(import.meta.dirname, '..'), 'deploy/prometheus');

const CHECKS = [
  ['check', 'rules', 'llamero-rules.yml'],
  // The file with the API key is its operator's.
  ['check', 'config', '--syntax-only', 'prometheus.yml'],
  ['test', 'rules', 'llamero-rules.test.yml'],
];

const HOW_TO_GET_IT = `There is no promtool, which the rules are tested with. It comes with Prometheus:
  Debian, Ubuntu   apt-get install prometheus
  macOS            brew install prometheus
  elsewhere        https://prometheus.io/download/, and promtool on the PATH`;

process.exitCode = CHECKS.every((args) => succeeds(args)) ? 0 : 1;

function succeeds(args: readonly string[]): boolean {
  const { error, status } = spawnSync('promtool', args, { cwd: folder, stdio: 'inherit' });
  if (error === undefined) return status === 0;
  console.error('code' in error && error.code === 'ENOENT' ? HOW_TO_GET_IT : error.message);
  return false;
}
