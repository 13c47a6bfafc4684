import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { parentContext, traceparentOf } from '../tracing-context.ts';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';
const TRACEPARENT = `00-${TRACE_ID}-${SPAN_ID}-01`;

function parentOf(headers: Record<string, string> | undefined, active = ROOT_CONTEXT) {
  return trace.getSpanContext(parentContext(active, headers));
}

describe('the parent of a request', () => {
  it('is the span of its caller', () => {
    const { traceState, ...parent } = parentOf({ traceparent: TRACEPARENT, tracestate: 'a=1,b=2' }) ?? {};
    assert.deepEqual(parent, { traceId: TRACE_ID, spanId: SPAN_ID, traceFlags: 1, isRemote: true });
    assert.equal(traceState?.serialize(), 'a=1,b=2');
  });

  it('is sampled as the lowest flag says, whatever others there are', () => {
    for (const [flags, sampled] of [
      ['00', 0],
      ['01', 1],
      ['fe', 0],
      ['ff', 1],
    ] as const) {
      assert.equal(parentOf({ traceparent: `cc-${TRACE_ID}-${SPAN_ID}-${flags}` })?.traceFlags, sampled);
    }
  });

  it('is nothing without a header, and with a state alone', () => {
    assert.equal(parentOf(undefined), undefined);
    assert.equal(parentOf({ tracestate: 'a=1' }), undefined);
  });

  it('is the active span of the program before all', () => {
    const own = { traceId: TRACE_ID, spanId: 'b'.repeat(16), traceFlags: 1 };
    const active = trace.setSpanContext(ROOT_CONTEXT, own);
    assert.deepEqual(parentOf({ traceparent: TRACEPARENT }, active), own);
  });

  it('survives a state that is none', () => {
    const { traceState } = parentOf({ traceparent: TRACEPARENT, tracestate: '=,;;\u{1F999}' }) ?? {};
    assert.equal(traceState?.serialize(), '');
  });
});

describe('what the engine is told', () => {
  it('has two digits of flags', () => {
    assert.equal(traceparentOf({ traceId: TRACE_ID, spanId: SPAN_ID, traceFlags: 1 }), TRACEPARENT);
    assert.equal(
      traceparentOf({ traceId: TRACE_ID, spanId: SPAN_ID, traceFlags: 0 }),
      TRACEPARENT.replace(/01$/, '00'),
    );
  });
});
