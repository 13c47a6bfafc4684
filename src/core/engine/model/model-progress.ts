import type { TransferProgress } from '../download/progress-meter.ts';

/** One piece of news while a model is looked up, downloaded or checked. */
export interface ModelProgress extends Omit<TransferProgress, 'step'> {
  readonly step: 'resolve' | TransferProgress['step'];
}
