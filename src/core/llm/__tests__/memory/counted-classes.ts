import { FairQueue } from '../../../admission/fair-queue.ts';
import { MemoryGuard } from '../../../admission/memory-guard.ts';
import { RateLimits } from '../../../admission/rate-limits.ts';
import { Approach } from '../../../approach.ts';
import { EngineCall } from '../../../engine-call.ts';
import { AttachedEngine } from '../../../engine/attached-engine.ts';
import { EngineProcess } from '../../../engine/engine-process.ts';
import { EngineRun } from '../../../engine/engine-run.ts';
import { SupervisedEngine } from '../../../engine/supervised-engine.ts';
import { LlameroError } from '../../../errors.ts';
import { LlameroEmitter } from '../../../events.ts';
import { ExchangeReport } from '../../../exchange-report.ts';
import { EventFramer } from '../../../openai/event-framer.ts';
import { Pipeline } from '../../../pipeline.ts';
import { Resending } from '../../../resending.ts';
import { CircuitBreaker } from '../../../resilience/circuit-breaker.ts';
import { HangWatch } from '../../../resilience/hang-watch.ts';
import { RunningExchange } from '../../../running-exchange.ts';
import { SlotReclaimer } from '../../../slot-reclaimer.ts';
import { StreamContinuation } from '../../../stream-continuation.ts';
import { TokenAccount } from '../../../token-account.ts';
import { Waiting } from '../../../waiting.ts';
import { WholeAnswer } from '../../../whole-answer.ts';
import { AnswerKeeper } from '../../../../gateway/answer-keeper.ts';
import { RelayedStream } from '../../../../gateway/relayed-stream.ts';
import { Relay } from '../../../../gateway/relay.ts';
import { StreamPacer } from '../../../../gateway/stream-pacer.ts';
import { AnswerStream } from '../../answer-stream.ts';
import { LlamaCppProvider } from '../../llama-cpp-provider.ts';

/** What belongs to one request, to one provider or to one gateway: none of it may outlive its owner. */
export const COUNTED_CLASSES: readonly { readonly name: string }[] = [
  AnswerKeeper,
  AnswerStream,
  Approach,
  AttachedEngine,
  CircuitBreaker,
  EngineCall,
  EngineProcess,
  EngineRun,
  EventFramer,
  ExchangeReport,
  FairQueue,
  HangWatch,
  LlamaCppProvider,
  LlameroEmitter,
  LlameroError,
  MemoryGuard,
  Pipeline,
  RateLimits,
  Relay,
  RelayedStream,
  Resending,
  RunningExchange,
  SlotReclaimer,
  StreamContinuation,
  StreamPacer,
  SupervisedEngine,
  TokenAccount,
  Waiting,
  WholeAnswer,
];
