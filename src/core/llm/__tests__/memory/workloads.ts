import * as gateway from './gateway-workloads.ts';
import * as lifecycle from './lifecycle-workloads.ts';
import * as plants from './planted-leaks.ts';
import * as requests from './request-workloads.ts';
import * as streams from './stream-workloads.ts';
import type { Workload } from './workload.ts';

/** Every workload, by name. */
export const WORKLOADS = { ...requests, ...streams, ...lifecycle, ...gateway, ...plants } satisfies Record<
  string,
  Workload
>;
/** Name of a workload. */
export type WorkloadName = keyof typeof WORKLOADS;
