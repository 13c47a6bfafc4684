import type { SlotWaiter } from '../../src/core/admission/fair-queue.ts';
import { ServiceLog } from './service-log.ts';
import type { Scheduler } from './schedulers.ts';
import type { Arrival, Workload } from './workloads.ts';

/**
 * An engine that batches continuously, as llama-server does: each step reads a piece of the waiting prompts and decodes one
 * token for every slot that has read its own. The times are those of a small model on a small GPU.
 */
export const ENGINE = { slots: 8, stepMs: 20, decodeMs: 1, promptTokenMs: 0.25, promptTokensPerStep: 512 };

interface Running extends SlotWaiter {
  readonly arrival: Arrival;
  promptLeft: number;
  generatedLeft: number;
}

/** Plays a workload through a scheduler, and looks until the end of the workload; what waits then is left. */
export function simulate(
  workload: Workload,
  makeScheduler: (slots: number, now: () => number) => Scheduler,
): ServiceLog {
  let nowMs = 0;
  const scheduler = makeScheduler(ENGINE.slots, () => nowMs);
  const { queue } = scheduler;
  const log = new ServiceLog(workload, scheduler.name);
  const running: Running[] = [];
  let next = 0;

  const arrive = (arrival: Arrival): void => {
    const client = scheduler.clientOf(arrival);
    if (client === null) {
      log.refused(arrival);
      return;
    }
    const request: Running = {
      arrival,
      client,
      promptTokens: arrival.promptTokens,
      slots: 1,
      promptLeft: arrival.promptTokens,
      generatedLeft: arrival.generatedTokens,
      place: null,
      onSlot: () => running.push(request) > 0,
      onRefused: () => log.refused(arrival),
    };
    log.arrived(arrival);
    if (queue.acquire(request, Infinity)) request.onSlot();
  };

  const step = (): void => {
    let promptBudget = ENGINE.promptTokensPerStep;
    let decoding = 0;
    const decoded: Running[] = [];
    for (const request of running) {
      if (request.promptLeft === 0) {
        decoding += 1;
        decoded.push(request);
        continue;
      }
      const piece = Math.min(promptBudget, request.promptLeft);
      promptBudget -= piece;
      request.promptLeft -= piece;
      // The last piece of a prompt gives the first token.
      if (request.promptLeft === 0) decoded.push(request);
    }
    const promptTokens = ENGINE.promptTokensPerStep - promptBudget;
    nowMs += ENGINE.stepMs + decoding * ENGINE.decodeMs + promptTokens * ENGINE.promptTokenMs;
    for (const request of decoded) emitToken(request);
  };

  const emitToken = (request: Running): void => {
    const { arrival } = request;
    if (request.generatedLeft === arrival.generatedTokens) {
      queue.chargePrompt(request, arrival.promptTokens, 0);
      log.firstToken(arrival, nowMs);
    }
    request.generatedLeft -= 1;
    queue.chargeGenerated(request, 1);
    log.token(arrival, nowMs);
    if (request.generatedLeft > 0) return;
    running.splice(running.indexOf(request), 1);
    log.completed(arrival);
    queue.release(request);
  };

  while (nowMs < workload.lengthMs) {
    for (; (workload.arrivals[next]?.atMs ?? Infinity) <= nowMs; next++) arrive(workload.arrivals[next] as Arrival);
    if (running.length > 0) step();
    else nowMs = workload.arrivals[next]?.atMs ?? workload.lengthMs;
  }
  return log;
}
