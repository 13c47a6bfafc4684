import type { Benchmark } from './bench-context.ts';
import { continuationPause, continuationPauseReady } from './benchmarks/continuation-pause.ts';
import { continuationCost } from './benchmarks/continuation.ts';
import { clientGone, saturatedEngine } from './benchmarks/engine.ts';
import { jsonLatency, jsonThroughput } from './benchmarks/json.ts';
import { heapGrowth, openMemory } from './benchmarks/memory.ts';
import { engineKilled } from './benchmarks/recovery.ts';
import { serveStart } from './benchmarks/serve-start.ts';
import { firstToken, frames } from './benchmarks/streams.ts';

/** All benchmarks, in the order in which they run. */
export const BENCHMARKS: readonly Benchmark[] = [
  jsonLatency,
  jsonThroughput,
  firstToken,
  frames,
  openMemory,
  heapGrowth,
  saturatedEngine,
  engineKilled,
  continuationCost,
  continuationPause,
  continuationPauseReady,
  serveStart,
  clientGone,
];
