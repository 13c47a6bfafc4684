import { ALERT_NAMES } from '../../core/events.ts';
import { ALERTS, NOT_IN_PROCESS } from './alert-definitions.ts';

/** The page with its tables made anew. A table stands between `<!-- alerts NAME -->` and `<!-- end -->`. Pure. */
export function withAlertTables(page: string): string {
  return page.replace(
    /(<!-- alerts (evaluated|others) -->\n)[^]*?(<!-- end -->)/g,
    (_all, begin: string, name: string, end: string) => begin + (name === 'evaluated' ? evaluated() : others()) + end,
  );
}

function evaluated(): string {
  const rows = ALERT_NAMES.map((name) => {
    const { severity, forMs, windowMs, threshold, symptom } = ALERTS[name];
    const above = threshold === null ? '' : String(threshold);
    const cells = [`[\`${name}\`](runbook.md#${name.toLowerCase()})`, severity, symptom, above];
    return `| ${[...cells, windowMs === null ? '' : minutes(windowMs), minutes(forMs)].join(' | ')} |\n`;
  });
  return `| alert | severity | symptom | more than | looks back | for |\n|---|---|---|---|---|---|\n${rows.join('')}`;
}

function others(): string {
  const rows = Object.entries(NOT_IN_PROCESS).map(([name, reason]) => `| \`${name}\` | ${reason} |\n`);
  return `| alert | why not |\n|---|---|\n${rows.join('')}`;
}

function minutes(ms: number): string {
  return ms === 0 ? 'at once' : `${ms / 60_000} min`;
}
