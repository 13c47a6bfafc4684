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

/** Of a unit that is several requests; the requirements allow 10 KB of heap for each, and 5 MB of all memory for 1,000. */
const LIMITS = { heap: 4096, external: 4096, anonymous: 20_480 };

/** What holds unless a plan says otherwise. */
export const SETTINGS: Settings = { unitsPerBatch: 15, warmupBatches: 2, countedBatches: 4, limits: LIMITS };

/** What the suite measures, by name. */
export const MEASUREMENTS = {
  answered: { workloads: [requests.successful, requests.listening], engines: ['plain'] },
  failed: {
    workloads: [requests.failed, requests.saved],
    engines: ['plain', 'unwilling', 'breaking', 'garbling', 'busy'],
    settings: { limits: { heap: 8192, external: 8192, anonymous: 40_960 } },
  },
  streams: {
    workloads: [streams.readSlowly, streams.abandoned, requests.cancelled],
    engines: ['plain', 'slow', 'silent'],
    settings: { limits: { heap: 8192, external: 8192, anonymous: 40_960 } },
  },
  // 30 requests a unit.
  concurrent: {
    workloads: [requests.concurrent],
    engines: ['plain', 'slow'],
    settings: { unitsPerBatch: 5, limits: { heap: 16_384, external: 16_384, anonymous: 65_536 } },
  },
  // Zero within its error is what is aimed at: a request that leaves 256 bytes behind is found.
  continuous: {
    workloads: [requests.plain],
    engines: ['plain'],
    settings: {
      concurrency: 8,
      unitsPerBatch: 200,
      warmupBatches: 4,
      countedBatches: 1,
      limits: { heap: 256, external: 256, anonymous: 5120 },
    },
  },
  gateway: { workloads: [gateway.served], engines: ['plain', 'slow'], settings: { unitsPerBatch: 12 } },
  // Two providers a unit.
  recreated: {
    workloads: [lifecycle.recreated, gateway.regated],
    engines: ['plain', 'slow'],
    settings: { unitsPerBatch: 6, limits: { heap: 16_384, external: 65_536, anonymous: 131_072 } },
  },
  respawned: {
    workloads: [lifecycle.respawned],
    engines: [],
    settings: {
      concurrency: 1,
      unitsPerBatch: 1,
      countedBatches: 2,
      limits: { heap: 65_536, external: 65_536, anonymous: 1_048_576 },
    },
  },
  // An answer that is kept would be 16 MB.
  large: {
    workloads: [requests.large],
    engines: ['large'],
    settings: {
      concurrency: 2,
      unitsPerBatch: 2,
      limits: { heap: 65_536, external: 65_536, anonymous: 4_194_304 },
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
