import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Agent } from 'undici';
import { delayBeforeRetry, outcomeOfStatus } from '../webhook-outcome.ts';
import { type WebhookOptions, type WebhookReport, WebhookSender } from '../webhook-sender.ts';
import { signWebhook } from '../webhook-signature.ts';
import { documentedVerification, startWebhookReceiver } from './webhook-receiver.ts';

const SECRET = 'a secret of this test';
const UNSIGNED = { secret: null };

describe('a webhook', { timeout: 30_000 }, () => {
  let agent: Agent;
  before(() => {
    agent = new Agent();
  });
  after(() => agent.destroy());

  /** A sender in a hurry, and what it reports. */
  function sendTo(url: string, options: Partial<WebhookOptions> = {}) {
    const reports: WebhookReport[] = [];
    const changes = new EventTarget();
    const sender = new WebhookSender({
      url,
      secret: SECRET,
      timeoutMs: 5000,
      retryDelayMs: 5,
      maxDelayMs: 20,
      deadlineMs: 60_000,
      maxQueue: 100,
      dispatcher: agent,
      onReport: (report) => {
        reports.push(report);
        changes.dispatchEvent(new Event('change'));
      },
      ...options,
    });
    const reported = async (ok: boolean) => {
      while (!reports.some((report) => report.ok === ok)) await once(changes, 'change');
    };
    return { sender, reports, reported, [Symbol.asyncDispose]: () => sender.stop() };
  }

  test('is signed, as its documentation says how to verify', async () => {
    await using receiver = await startWebhookReceiver();
    await using to = sendTo(`${receiver.url}/hook?a=1`);
    const message = { alert: 'LlameroEngineDown', text: 'ümläut 🦙' };
    to.sender.send(message);
    const { headers, path, body } = await receiver.received(() => true);
    assert.equal(path, '/hook?a=1');
    assert.equal(headers['content-type'], 'application/json');
    assert.deepEqual(JSON.parse(body), message);
    const signature = String(headers['x-llamero-signature']);
    const verify = await documentedVerification();
    assert.equal(verify(SECRET, signature, body), true);
    assert.equal(verify('another secret', signature, body), false);
    assert.equal(verify(SECRET, signature, `${body} `), false);
    assert.equal(verify(SECRET, signature, body, Date.now() + 301_000), false, 'too old');
    assert.equal(verify(SECRET, undefined, body), false);
    assert.equal(
      verify(
        SECRET,
        signature.replace(/t=(\d+)/, (_all, t) => `t=${Number(t) + 1}`),
        body,
      ),
      false,
    );
  });

  test('signs as RFC 2104 has it', () => {
    // echo -n '1764000000.{"a":1}' | openssl dgst -sha256 -hmac key
    const expected = 't=1764000000,v1=66ff00156971bc93c586dacc7bf22d6f5f4d9fcaede23c166be2b3ec3215f68a';
    assert.equal(signWebhook('key', '{"a":1}', 1_764_000_000), expected);
  });

  test('is not signed without a secret', async () => {
    await using receiver = await startWebhookReceiver();
    await using to = sendTo(receiver.url, UNSIGNED);
    to.sender.send({});
    const { headers } = await receiver.received(() => true);
    assert.equal(headers['x-llamero-signature'], undefined);
  });

  test('logs in with what the address says, and does not tell it', async () => {
    await using receiver = await startWebhookReceiver((response, index) =>
      response.writeHead(index === 0 ? 500 : 204).end(),
    );
    await using to = sendTo(receiver.url.replace('//', '//me:p%40ss@'));
    to.sender.send({});
    const { headers } = await receiver.received((_delivery, index) => index === 1);
    assert.equal(headers.authorization, `Basic ${Buffer.from('me:p@ss').toString('base64')}`);
    await to.reported(true);
    assert.doesNotMatch(JSON.stringify(to.reports), /p@ss|p%40ss/);
  });

  test('is tried again under the same id until it arrives, and the rest follows in order', async () => {
    const answers = [500, 503, 429, 204, 204, 204];
    await using receiver = await startWebhookReceiver((response, index) =>
      response.writeHead(answers[index] ?? 204).end(),
    );
    await using to = sendTo(`${receiver.url}/T0KEN`);
    for (const number of [1, 2, 3]) to.sender.send({ number });
    await receiver.received((_delivery, index) => index === 5);
    assert.deepEqual(
      receiver.deliveries.map(({ body }) => JSON.parse(body).number),
      [1, 1, 1, 1, 2, 3],
    );
    const ids = receiver.deliveries.map(({ headers }) => headers['x-llamero-delivery']);
    assert.equal(new Set(ids.slice(0, 4)).size, 1);
    assert.equal(new Set(ids).size, 3);
    await to.sender.stop();
    assert.deepEqual(to.sender.status(), { queued: 0, delivered: 3, dropped: 0, failure: null });
    assert.deepEqual(to.reports, [
      { ok: false, message: `Alerts do not reach ${receiver.url}: the answer is 500` },
      { ok: true, message: `Alerts reach ${receiver.url} again.` },
    ]);
  });

  for (const status of [400, 404, 301]) {
    test(`${status} is final`, async () => {
      await using receiver = await startWebhookReceiver((response, index) =>
        response.writeHead(index === 0 ? status : 204, { location: '/elsewhere' }).end(),
      );
      await using to = sendTo(receiver.url);
      to.sender.send({ number: 1 });
      to.sender.send({ number: 2 });
      await to.reported(true);
      assert.deepEqual(
        receiver.deliveries.map(({ path, body }) => `${path} ${body}`),
        ['/ {"number":1}', '/ {"number":2}'],
      );
      assert.deepEqual(to.sender.status(), { queued: 0, delivered: 1, dropped: 1, failure: null });
    });
  }

  test('is given up when it is too old', async () => {
    await using receiver = await startWebhookReceiver((response, index) => {
      response.writeHead(isFirst(receiver.deliveries[index]?.body ?? '') ? 500 : 204).end();
    });
    await using to = sendTo(receiver.url, { deadlineMs: 50 });
    to.sender.send({ number: 1 });
    to.sender.send({ number: 2 });
    await to.reported(true);
    const tries = receiver.deliveries.filter(({ body }) => isFirst(body)).length;
    assert.ok(tries >= 1 && tries <= 25, `${tries} tries within 50 ms`);
    assert.match(to.reports.at(-1)?.message ?? '', /1 have been dropped/);
  });

  test('nobody is there: the oldest are dropped and counted, and the end does not wait', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, 'close');
    const to = sendTo(`http://127.0.0.1:${port}/T0KEN`, { maxQueue: 3, retryDelayMs: 60_000, maxDelayMs: 60_000 });
    for (let number = 0; number < 1000; number += 1) to.sender.send({ number });
    assert.deepEqual(to.sender.status(), { queued: 4, delivered: 0, dropped: 996, failure: null });
    await to.reported(false);
    assert.deepEqual(to.reports, [
      { ok: false, message: `Alerts do not reach http://127.0.0.1:${port}: ECONNREFUSED` },
    ]);
    assert.ok((await timeOf(() => to.sender.stop())) < 900);
    assert.deepEqual(to.sender.status(), { queued: 0, delivered: 0, dropped: 1000, failure: 'ECONNREFUSED' });
    to.sender.send({ number: 1 });
    assert.equal(to.sender.status().queued, 0, 'nothing is taken behind the end');
    await to.sender.stop();
  });

  test('somebody is there and says nothing: it takes its time only, and the end does not wait', async () => {
    await using receiver = await startWebhookReceiver(() => undefined);
    const to = sendTo(receiver.url, { timeoutMs: 30 });
    to.sender.send({ number: 1 });
    await receiver.received((_delivery, index) => index === 2);
    assert.deepEqual(to.reports, [
      { ok: false, message: `Alerts do not reach ${receiver.url}: no answer within 30 ms` },
    ]);
    const patient = sendTo(receiver.url, { timeoutMs: 60_000 });
    for (let number = 0; number < 50; number += 1) patient.sender.send({ number });
    const stopped = await timeOf(() => Promise.all([to.sender.stop(), patient.sender.stop()]));
    assert.ok(stopped < 1000, `stopping took ${stopped} ms`);
    assert.equal(patient.sender.status().dropped, 50);
  });

  test('what waits at the end is tried once more', async () => {
    await using receiver = await startWebhookReceiver((response, index) =>
      response.writeHead(index === 0 ? 500 : 204).end(),
    );
    const to = sendTo(receiver.url, { retryDelayMs: 60_000, maxDelayMs: 60_000 });
    to.sender.send({ number: 1 });
    to.sender.send({ number: 2 });
    await to.reported(false);
    await to.sender.stop();
    assert.deepEqual(
      receiver.deliveries.map(({ body }) => JSON.parse(body).number),
      [1, 1, 2],
    );
    assert.equal(to.sender.status().delivered, 2);
  });

  test('an answer without an end is an answer', async () => {
    await using receiver = await startWebhookReceiver((response) => {
      response.writeHead(200);
      response.write('x'.repeat(1_000_000));
    });
    await using to = sendTo(receiver.url, { timeoutMs: 60_000 });
    to.sender.send({ number: 1 });
    to.sender.send({ number: 2 });
    await receiver.received((_delivery, index) => index === 1);
    assert.equal(to.sender.status().delivered, 1);
  });
});

describe('answers', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const table: [status: number, retryAfter: string | null, is: string, retryAfterMs?: number | null][] = [
    [200, null, 'delivered'],
    [204, null, 'delivered'],
    [302, null, 'refused'],
    [400, null, 'refused'],
    [401, null, 'refused'],
    [408, null, 'failed', null],
    [429, '7', 'failed', 7000],
    [500, null, 'failed', null],
    [503, 'Thu, 01 Jan 2026 00:00:30 GMT', 'failed', 30_000],
    [503, 'Thu, 01 Jan 2020 00:00:30 GMT', 'failed', 0],
    [503, 'soon', 'failed', null],
  ];
  for (const [status, retryAfter, is, retryAfterMs] of table) {
    test(`${status}, Retry-After ${retryAfter}: ${is}`, () => {
      const outcome = outcomeOfStatus(status, retryAfter, now);
      assert.equal(outcome.is, is);
      if (outcome.is === 'failed') assert.equal(outcome.retryAfterMs, retryAfterMs);
    });
  }

  const limits = { retryDelayMs: 1000, maxDelayMs: 10_000 };
  const delays: [tries: number, askedMs: number | null, random: number, expected: number][] = [
    [1, null, 1, 1000],
    [1, null, 0, 500],
    [2, null, 1, 2000],
    [4, null, 0.5, 6000],
    [5, null, 1, 10_000],
    [99, null, 1, 10_000],
    [1, 4000, 1, 4000],
    [3, 3000, 1, 4000],
    [1, 3_600_000, 1, 10_000],
  ];
  for (const [tries, askedMs, random, expected] of delays) {
    test(`after ${tries} tries, asked for ${askedMs}: ${expected} ms`, () => {
      assert.equal(delayBeforeRetry(tries, limits, askedMs, random), expected);
    });
  }
});

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function isFirst(body: string): boolean {
  return JSON.parse(body).number === 1;
}
