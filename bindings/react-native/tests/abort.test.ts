// An abort ends the call it was made for, properly, and no other.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CountingSignal, open } from './support/app.js';
import { PHASES } from './support/fake.js';

for (const phase of PHASES) {
  test(`an abort while ${phase} leaves the round, and the next round is contributed to`, async () => {
    const { native, client } = await open();
    native.heldIn = phase;
    const abort = new AbortController();
    const running = client.participate({ signal: abort.signal });
    await native.reached();
    abort.abort();
    const outcome = await running;
    assert.deepEqual([outcome.kind, outcome.kind === 'left' && outcome.code], ['left', 'cancelled']);
    native.heldIn = undefined;
    assert.equal((await client.participate()).kind, 'contributed');
  });
}

test('an aborted participation is over only when the native side says so', async () => {
  const { native, client } = await open();
  native.heldIn = 'uploading';
  const abort = new AbortController();
  let over = false;
  const running = client.participate({ signal: abort.signal }).finally(() => (over = true));
  const call = await native.reached();
  native.stop = () => {};
  abort.abort();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(over, false);
  // The abort came too late.
  native.finish(call);
  assert.equal((await running).kind, 'contributed');
});

test('a participation that is aborted before it begins does not cross', async () => {
  const { native, client } = await open();
  const outcome = await client.participate({ signal: AbortSignal.abort() });
  assert.equal(outcome.kind, 'left');
  assert.ok(outcome.kind === 'left' && outcome.code === 'cancelled' && outcome.round === null && outcome.until <= Date.now());
  assert.deepEqual(native.calls, []);
});

for (const method of ['enroll', 'refreshModel'] as const) {
  const call = (client: Awaited<ReturnType<typeof open>>['client'], signal: AbortSignal) =>
    method === 'enroll' ? client.enroll('token', { signal }) : client.refreshModel({ signal });

  test(`an aborted ${method} rejects with an AbortError`, async () => {
    const { native, client } = await open();
    native.heldIn = 'checking_in';
    const abort = new AbortController();
    const running = call(client, abort.signal);
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    await assert.rejects(running, { name: 'AbortError' });
    assert.equal(native.stopped.length, 1);
  });

  test(`${method} with a signal that is aborted already rejects with an AbortError, and does not cross`, async () => {
    const { native, client } = await open();
    await assert.rejects(call(client, AbortSignal.abort()), { name: 'AbortError' });
    assert.deepEqual(native.calls, []);
  });
}

test('a signal outlives its call: it is let go, and stops nothing afterwards', async () => {
  const { native, client } = await open();
  const signal = new CountingSignal();
  await client.participate({ signal });
  await client.enroll('token', { signal });
  native.fail('refreshModel', { kind: 'network', code: 'unreachable', message: 'the coordinator cannot be reached' });
  await assert.rejects(client.refreshModel({ signal }), { name: 'ScaleError' });
  assert.equal(signal.listeners.size, 0);
  signal.abort();
  assert.deepEqual(native.stopped, []);
});

test('an abort stops its own call only', async () => {
  const { native, client } = await open();
  native.heldIn = 'training';
  const [first, second] = [new AbortController(), new AbortController()];
  const running = client.participate({ signal: first.signal });
  const call = await native.reached();
  const other = client.enroll('token', { signal: second.signal });
  second.abort();
  await assert.rejects(other, { name: 'AbortError' });
  native.finish(call);
  assert.equal((await running).kind, 'contributed');
});
