import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { LlameroError } from '../../core/errors.ts';
import { addApiKey } from '../key-store.ts';
import { CHAT, comeBack, plain, RESUMABLE, send, serveScript, statusOf } from './resumable-client.ts';
import type { SeenExchange } from './scripted-backend.ts';
import { until } from './served-engine.ts';

const EVENTS = ['{"t":"a"}', '{"t":"ä\u{1F999}"}', '{"t":"third"}', '[DONE]'];
const WHOLE = EVENTS.map((event) => `data: ${event}\n\n`).join('');

function play(exchange: SeenExchange, from = 0, to = EVENTS.length): void {
  if (from === 0) exchange.head();
  for (const event of EVENTS.slice(from, to)) exchange.event(event);
  if (to === EVENTS.length) exchange.end();
}

/** Events of about 1000 bytes, numbered. */
function big(index: number): string {
  return JSON.stringify({ index, text: 'x'.repeat(1000) });
}

describe('a stream that its client may come back to', { timeout: 30_000 }, () => {
  it('is as it always was, but for an id on each event that tells the bytes until there', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin();
    play(exchange);
    const connection = await connecting;
    const whole = await connection.rest();
    assert.equal(connection.status, 200);
    assert.equal(connection.response.headers['content-type'], 'text/event-stream');
    assert.match(connection.streamId, /^[\w-]{24}$/);
    assert.equal(plain(whole), WHOLE);
    const ids = [...whole.toString('latin1').matchAll(/^id: ([\w-]+):(\d+)\n\n/gm)];
    assert.equal(ids.length, EVENTS.length);
    for (const { 0: line, 1: id, 2: offset, index } of ids) {
      assert.equal(id, connection.streamId);
      assert.equal(Number(offset), index + line.length);
    }
  });

  it('goes on behind any byte, when it is over, as often as wanted', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin();
    play(exchange, 0, 3);
    const first = await connecting;
    await first.until('third');
    first.cut();
    await served.alone();
    play(exchange, 3);
    const whole = await (await comeBack(served.port, first.streamId, 0)).rest();
    assert.equal(plain(whole), WHOLE);
    for (let offset = 1; offset < whole.length; offset += 1) {
      const again = await comeBack(served.port, first.streamId, offset);
      assert.equal(again.status, 200);
      assert.deepEqual(await again.rest(), whole.subarray(offset), `from ${offset}`);
    }
    const nothing = await comeBack(served.port, first.streamId, whole.length);
    assert.deepEqual([nothing.status, (await nothing.rest()).length], [204, 0]);
    const beyond = await comeBack(served.port, first.streamId, whole.length + 1);
    assert.deepEqual([beyond.status, await beyond.error()], [400, 'invalid_request']);
  });

  it('goes on behind any byte while it runs, and then live', async () => {
    await using served = await serveScript();
    for (let offset = 0; ; offset += 3) {
      const { connecting, exchange } = await served.begin();
      play(exchange, 0, 2);
      const first = await connecting;
      // What a client throws away of it, it may as well never have received.
      const before = await first.until(`\n\ndata: ${EVENTS[1]}`);
      const end = before.lastIndexOf('\n\n', before.length - 3) + 2;
      if (offset > end) break;
      first.cut();
      const second = await comeBack(served.port, first.streamId, offset);
      await second.until(EVENTS[1] ?? '');
      second.cut();
      play(exchange, 2, 3);
      const middle = offset + second.received.length;
      const third = await comeBack(served.port, first.streamId, middle);
      await third.until('third');
      play(exchange, 3);
      const received = [before.subarray(0, offset), second.received.subarray(0, middle - offset), await third.rest()];
      assert.equal(plain(Buffer.concat(received)), WHOLE, `cut at ${offset}`);
      assert.equal(exchange.cancelledWith, undefined);
    }
  });

  it('is found by the request once more, as clients send it that know of event ids', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin();
    play(exchange, 0, 2);
    const first = await connecting;
    const [id = ''] = /(?<=^id: ).+(?=\n\n$)/m.exec((await first.until('id: ')).toString()) ?? [];
    first.cut();
    const body = '{"stream":true}';
    const again = await send(served.port, 'POST', CHAT, { ...RESUMABLE, 'last-event-id': id }, body);
    play(exchange, 2);
    const start = Number(id.split(':')[1]);
    const rest = await again.rest();
    const named = await send(served.port, 'POST', CHAT, { ...RESUMABLE, 'x-stream-id': first.streamId }, body);
    const whole = await named.rest();
    assert.equal(plain(whole), WHOLE, 'without an offset it begins at the beginning');
    assert.deepEqual(rest, whole.subarray(start));
    // An EventSource can only be told where to go on in the address, and then tells it itself.
    const query = `/v1/streams/${first.streamId}?offset=7`;
    assert.deepEqual(await (await send(served.port, 'GET', query)).rest(), whole.subarray(7));
    const newer = await send(served.port, 'GET', query, { 'last-event-id': id });
    assert.deepEqual(await newer.rest(), whole.subarray(start));
    assert.equal(served.backend.seen.length, 1, 'the engine was asked once');
  });

  it('counts comments, so that an offset is what came', async () => {
    await using served = await serveScript({}, { limits: { heartbeatIntervalMs: 5 } });
    const { connecting, exchange } = await served.begin({ 'x-queue-position': '1' });
    exchange.sink.onQueued?.(2);
    const first = await connecting;
    await first.until(': queue position 2\n\n');
    first.cut();
    await served.alone();
    const second = await comeBack(served.port, first.streamId, first.received.length);
    play(exchange, 0, 2);
    await second.until(EVENTS[1] ?? '');
    await second.until(': heartbeat\n\n');
    second.cut();
    const offset = first.received.length + second.received.length;
    const third = await comeBack(served.port, first.streamId, offset);
    await third.until(': heartbeat\n\n');
    play(exchange, 2);
    const all = Buffer.concat([first.received, second.received, await third.rest()]);
    assert.deepEqual(await (await comeBack(served.port, first.streamId, 0)).rest(), all);
    assert.equal(plain(all).replaceAll(/^: .*\n\n/gm, ''), WHOLE);
  });

  it('belongs to its newest connection; the older one is told and ends', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin({}, '/v1/messages');
    play(exchange, 0, 1);
    const older = await connecting;
    const before = await older.until('id: ');
    const newer = await comeBack(served.port, older.streamId, before.length);
    const told = (await older.rest()).subarray(before.length).toString();
    assert.match(told, /^event: error\ndata: \{"type":"error","error":\{.*"code":"stream_taken_over"\}\}\n\n$/);
    play(exchange, 1);
    assert.equal(plain(Buffer.concat([before, await newer.rest()])), WHOLE);
    assert.equal(exchange.cancelledWith, undefined);
  });

  it('tells a client that was away of a failure, where it happened', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin();
    play(exchange, 0, 2);
    const first = await connecting;
    const before = await first.until('id: ');
    first.cut();
    exchange.fail(new LlameroError('stream_interrupted', 'The engine was lost.'));
    const rest = await (await comeBack(served.port, first.streamId, before.length)).rest();
    const all = plain(Buffer.concat([before, rest]));
    assert.ok(all.startsWith(`data: ${EVENTS[0]}\n\ndata: ${EVENTS[1]}\n\ndata: {"error":`), all);
    assert.match(all, /"code":"stream_interrupted"\}\}\n\n$/);
  });

  it('is no stream where it fails before, or is answered as a whole', async () => {
    await using served = await serveScript();
    const failed = await served.begin();
    failed.exchange.fail(new LlameroError('queue_full', 'Full.'));
    const refusal = await failed.connecting;
    assert.deepEqual([refusal.status, await refusal.error()], [503, 'queue_full']);
    const whole = await served.begin();
    whole.exchange.head('application/json');
    whole.exchange.sink.onData(Buffer.from('{"a": 1}'));
    whole.exchange.end();
    const answer = await whole.connecting;
    assert.equal((await answer.rest()).toString(), '{"a": 1}');
    for (const { response } of [refusal, answer]) assert.equal(response.headers['x-stream-id'], undefined);
    assert.equal((await statusOf(served.url)).resumableStreams.held, 0);
  });

  it('ends when its client leaves before it knew the id', async () => {
    await using served = await serveScript();
    const seen = served.backend.next();
    const waiting = httpRequest({ port: served.port, method: 'POST', path: CHAT, headers: RESUMABLE, agent: false });
    waiting.on('error', () => {});
    waiting.end('{"stream":true}');
    const exchange = await seen;
    waiting.destroy();
    assert.equal((await exchange.cancelled).code, 'cancelled');
    assert.equal((await statusOf(served.url)).resumableStreams.held, 0);
  });

  it('ends at once for whoever did not ask for it', async () => {
    await using served = await serveScript();
    for (const header of [{}, { 'x-stream-resume': 'false' }] as Record<string, string>[]) {
      const seen = served.backend.next();
      const headers = { 'content-type': 'application/json', ...header };
      const connecting = send(served.port, 'POST', CHAT, headers, '{"stream":true}');
      const exchange = await seen;
      play(exchange, 0, 2);
      const connection = await connecting;
      const received = await connection.until(EVENTS[1] ?? '');
      assert.equal(connection.response.headers['x-stream-id'], undefined);
      assert.ok(!received.includes('id: '));
      connection.cut();
      assert.equal((await exchange.cancelled).code, 'cancelled');
    }
    const wrong = await send(served.port, 'POST', CHAT, { ...RESUMABLE, 'x-stream-resume': 'please' }, '{}');
    assert.deepEqual([wrong.status, await wrong.error()], [400, 'invalid_request']);
  });

  it('is ended by whoever wants no more of it', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin();
    play(exchange, 0, 1);
    const connection = await connecting;
    const where = `/v1/streams/${connection.streamId}`;
    assert.equal((await send(served.port, 'HEAD', where)).status, 405);
    assert.equal((await send(served.port, 'DELETE', where)).status, 204);
    assert.equal((await exchange.cancelled).code, 'cancelled');
    assert.match((await connection.rest()).toString(), /"code":"cancelled"\}\}\n\n$/);
    assert.equal((await send(served.port, 'DELETE', where)).status, 404);
    assert.deepEqual((await statusOf(served.url)).resumableStreams, { held: 0, bufferedBytes: 0 });
  });
});

describe('the limits of streams that wait for their clients', { timeout: 30_000 }, () => {
  it('waits for its client so long and no longer, and then everything of it is gone', async () => {
    await using served = await serveScript({ streamResume: { maxAge: 50 } });
    const running = await served.begin();
    play(running.exchange, 0, 2);
    const finished = await served.begin();
    play(finished.exchange);
    const connection = await running.connecting;
    await connection.until(EVENTS[1] ?? '');
    connection.cut();
    assert.equal((await running.exchange.cancelled).code, 'cancelled');
    const { streamId } = await finished.connecting;
    await until(async () => (await statusOf(served.url)).resumableStreams.held === 0);
    assert.equal((await statusOf(served.url)).resumableStreams.bufferedBytes, 0);
    for (const id of [connection.streamId, streamId, 'x'.repeat(24)]) {
      const late = await comeBack(served.port, id, 0);
      assert.deepEqual([late.status, await late.error()], [404, 'not_found']);
    }
  });

  it('holds the engine back when half of its buffer is unread, until somebody reads', async () => {
    await using served = await serveScript({ streamResume: { bufferPerStream: 65_536 } });
    const { connecting, exchange } = await served.begin();
    exchange.head();
    for (let index = 0; index < 40; index += 1) assert.equal(exchange.event(big(index)), true, 'somebody reads');
    const first = await connecting;
    const before = await first.until('"index":39');
    first.cut();
    await served.alone();
    let sent = 40;
    while (exchange.event(big(sent))) sent += 1;
    assert.ok(sent > 60 && sent < 72, `it took ${sent - 40} events`);
    const { bufferedBytes } = (await statusOf(served.url)).resumableStreams;
    assert.ok(bufferedBytes <= 65_536, `${bufferedBytes} bytes are held`);
    exchange.event(big(sent + 1));
    const resumed = exchange.resumed();
    const offset = before.lastIndexOf('data: ');
    const second = await comeBack(served.port, first.streamId, offset);
    await resumed;
    assert.equal(exchange.resumes, 1);
    exchange.end();
    const all = plain(Buffer.concat([before.subarray(0, offset), await second.rest()]));
    const expected = Array.from({ length: sent + 2 }, (_, index) => `data: ${big(index)}\n\n`);
    assert.equal(all, expected.join(''));
  });

  it('says so where what is missing is no longer held, and goes on for those who have it', async () => {
    await using served = await serveScript({ streamResume: { bufferPerStream: 8192 } });
    const { connecting, exchange } = await served.begin();
    exchange.head();
    for (let index = 0; index < 20; index += 1) exchange.event(big(index));
    const first = await connecting;
    const before = await first.until('"index":19');
    first.cut();
    const lost = await comeBack(served.port, first.streamId, 100);
    assert.deepEqual([lost.status, await lost.error()], [410, 'stream_position_lost']);
    exchange.end();
    const offset = before.lastIndexOf('data: ');
    const rest = await (await comeBack(served.port, first.streamId, offset)).rest();
    assert.equal(plain(rest), `data: ${big(19)}\n\n`);
  });

  it('goes on into the buffer when a client that did not keep up is gone', async () => {
    await using served = await serveScript({ streamResume: { bufferPerStream: 67_108_864 } });
    const { connecting, exchange } = await served.begin();
    exchange.head();
    const text = 'y'.repeat(1_000_000);
    const connection = await connecting;
    connection.response.pause();
    while (exchange.event(text));
    const resumed = exchange.resumed();
    connection.cut();
    await resumed;
    assert.equal(exchange.cancelledWith, undefined);
  });

  it('has none where the memory for all is taken, or where it is switched off', async () => {
    await using served = await serveScript({ streamResume: { bufferTotal: 4096 } });
    const first = await served.begin();
    play(first.exchange, 0, 1);
    const { streamId } = await first.connecting;
    assert.match(streamId, /^[\w-]{24}$/);
    await using off = await serveScript({ streamResume: { enabled: false } });
    for (const { begin } of [served, off]) {
      const { connecting, exchange } = await begin();
      play(exchange, 0, 2);
      const connection = await connecting;
      const received = await connection.until(EVENTS[1] ?? '');
      assert.equal(connection.response.headers['x-stream-id'], undefined);
      assert.ok(!received.includes('id: '));
      connection.cut();
      assert.equal((await exchange.cancelled).code, 'cancelled');
    }
    play(first.exchange, 1);
    assert.equal(plain(await (await first.connecting).rest()), WHOLE, 'who has one already keeps it');
  });

  it('ends with the gateway: at once where nobody reads, else as every stream', async () => {
    await using served = await serveScript();
    const left = await served.begin();
    const read = await served.begin();
    for (const { exchange } of [left, read]) play(exchange, 0, 2);
    const gone = await left.connecting;
    const stays = await read.connecting;
    await stays.until(EVENTS[1] ?? '');
    gone.cut();
    await until(async () => (await statusOf(served.url)).openAnswers === 1);
    const drained = served.gateway.drain({ timeoutMs: 60_000 });
    assert.equal((await left.exchange.cancelled).code, 'engine_unavailable');
    assert.equal(read.exchange.cancelledWith, undefined);
    await served.gateway.stop();
    await drained;
    assert.match((await stays.rest()).toString(), /"code":"engine_unavailable"\}\}(\nid: .*)?\n\n$/);
  });
});

describe('whose a stream is', { timeout: 30_000 }, () => {
  it('is nobody else’s, who cannot tell that it is there', async () => {
    await using served = await serveScript();
    const { connecting, exchange } = await served.begin({ 'x-user-id': 'ann' });
    play(exchange, 0, 1);
    const { streamId } = await connecting;
    const none = await comeBack(served.port, 'x'.repeat(24), 0, { 'x-user-id': 'ann' });
    const expected = [none.status, (await none.rest()).toString()];
    assert.equal(none.status, 404);
    for (const who of [{ 'x-user-id': 'bob' }, { 'x-session-id': 'ann' }, {}]) {
      const foreign = await comeBack(served.port, streamId, 0, who as Record<string, string>);
      assert.deepEqual([foreign.status, (await foreign.rest()).toString()], expected);
      const end = await send(served.port, 'DELETE', `/v1/streams/${streamId}`, who as Record<string, string>);
      assert.equal(end.status, 404);
    }
    play(exchange, 1);
    const own = await comeBack(served.port, streamId, 0, { 'x-user-id': 'ann' });
    assert.equal(plain(await own.rest()), WHOLE);
  });

  it('is also that of one API key, where several stand for one user', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'llamero-resumable-'));
    try {
      const file = path.join(folder, 'keys.json');
      const [one, two] = [
        await addApiKey(file, 'one', { userId: 'ann' }),
        await addApiKey(file, 'two', { userId: 'ann' }),
      ];
      await using served = await serveScript({ gateway: { apiKeyFile: file } });
      const { connecting, exchange } = await served.begin({ authorization: `Bearer ${one.key}` });
      play(exchange);
      const { streamId } = await connecting;
      const other = await comeBack(served.port, streamId, 0, { authorization: `Bearer ${two.key}` });
      assert.deepEqual([other.status, await other.error()], [404, 'not_found']);
      assert.equal((await comeBack(served.port, streamId, 0)).status, 401);
      const own = await comeBack(served.port, streamId, 0, { 'x-api-key': one.key });
      assert.equal(plain(await own.rest()), WHOLE);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
