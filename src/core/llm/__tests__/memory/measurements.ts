import type { MeasureLeakOptions } from '../../../../testing/index.ts';
import type { EngineName } from './engines.ts';
import * as gateway from './gateway-workloads.ts';
import * as lifecycle from './lifecycle-workloads.ts';
import { planted } from './planted-leaks.ts';
import * as requests from './request-workloads.ts';
import * as streams from './stream-workloads.ts';
import type { Workload } from './workload.ts';

type Settings = Omit<MeasureLeakOptions<unknown>, 'open' | 'run' | 'close' | 'counts' | 'classes' | 'name' | 'signal'>;

/** Workloads that are measured together, one after the other in each unit: a heap snapshot costs more than they do. */
export interface MeasurementPlan {
  readonly workloads: readonly Workload[];
  /** The doubles that they need. */
  readonly engines: readonly EngineName[];
  readonly settings?: Settings;
}

/**
 * Of a unit that is five requests and more, of which the requirements allow each 10 KB of heap and 5 KB of all memory. What counts more is
 * that not one object is left; that not even a few bytes are, `continuous` shows.
 */
const LIMITS = { heap: 16_384, external: 16_384, anonymous: 40_960 };

/** What holds unless a plan says otherwise. */
export const SETTINGS: Settings = { unitsPerBatch: 10, warmupBatches: 2, countedBatches: 5, limits: LIMITS };

/** What the suite measures, by name. */
export const MEASUREMENTS = {
  answered: { workloads: [requests.successful, requests.listening], engines: ['plain'] },
  failed: {
    workloads: [requests.failed, requests.saved],
    engines: ['plain', 'unwilling', 'breaking', 'garbling', 'busy'],
  },
  streams: {
    workloads: [streams.readSlowly, streams.abandoned, requests.cancelled, requests.concurrent],
    engines: ['plain', 'slow', 'silent'],
    settings: { limits: { heap: 32_768, external: 32_768, anonymous: 131_072 } },
  },
  // Zero within its error is what is aimed at: a request that leaves 256 bytes behind is found.
  continuous: {
    workloads: [requests.plain],
    engines: ['plain'],
    settings: {
      concurrency: 8,
      unitsPerBatch: 150,
      warmupBatches: 4,
      countedBatches: 1,
      limits: { heap: 256, external: 256, anonymous: 5120 },
    },
  },
  gateway: { workloads: [gateway.served], engines: ['plain', 'slow'] },
  // Two providers a unit.
  recreated: {
    workloads: [lifecycle.recreated, gateway.regated],
    engines: ['plain', 'slow'],
    settings: { unitsPerBatch: 6, limits: { heap: 32_768, external: 65_536, anonymous: 131_072 } },
  },
  // An engine a unit, and an answer that would be 16 MB more if it were kept.
  respawned: {
    workloads: [lifecycle.respawned, requests.large],
    engines: ['large'],
    settings: {
      concurrency: 1,
      unitsPerBatch: 1,
      countedBatches: 2,
      limits: { heap: 131_072, external: 131_072, anonymous: 4_194_304 },
    },
  },
  planted: {
    workloads: [planted],
    engines: ['plain'],
    settings: { mostBatches: 8, settleMs: 500 },
  },
} as const satisfies Record<string, MeasurementPlan>;

/** Name of a measurement. */
export type MeasurementName = keyof typeof MEASUREMENTS;
