import { formatBytes } from './byte-size.ts';

/** One piece of news while something is downloaded or checked; the shape of all progress. */
export interface TransferProgress {
  /** `wait`: another process downloads it. */
  readonly step: 'wait' | 'download' | 'verify';
  /** 0 to 1; null while it is not known. */
  readonly fraction: number | null;
  readonly message: string;
}

/** Not more often than a person can read. */
const INTERVAL_MS = 100;

/** Turns byte counts into progress, at most ten times a second and once at the end. */
export function createProgressMeter(
  step: TransferProgress['step'],
  label: string,
  onProgress: ((progress: TransferProgress) => void) | undefined,
): (bytes: number, total: number | null) => void {
  const begin = performance.now();
  let firstBytes: number | null = null;
  let last = Number.NEGATIVE_INFINITY;
  return (bytes, total) => {
    firstBytes ??= bytes;
    const now = performance.now();
    if (onProgress === undefined || (now - last < INTERVAL_MS && bytes !== total)) return;
    last = now;
    const perSecond = ((bytes - firstBytes) / Math.max(now - begin, 1)) * 1000;
    const of = total === null ? '' : ` of ${formatBytes(total)}`;
    const speed = perSecond > 0 ? ` (${formatBytes(perSecond)}/s)` : '';
    const fraction = total === null ? null : total === 0 ? 1 : Math.min(bytes / total, 1);
    onProgress({ step, fraction, message: `${label}: ${formatBytes(bytes)}${of}${speed}` });
  };
}
