// Progress, news of the status, rounds in the background, and the end of a client.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';

import { ScaleClient, type Progress } from '@scale-fl/react-native';

import { OPTIONS, open, rejects } from './support/app.js';
import { entered } from './support/fake.js';

/** What the app's log says. */
function logged(context: TestContext): unknown[][] {
  const lines: unknown[][] = [];
  context.mock.method(console, 'error', (...what: unknown[]) => lines.push(what));
  return lines;
}

test('progress comes to its own call, and not after the end', async () => {
  const { native, client } = await open();
  native.heldIn = 'training';
  const heard: Progress[] = [];
  const running = client.participate({ onProgress: (progress) => heard.push(progress) });
  const call = await native.reached();
  native.tell(call + 1, entered('over'));
  native.tell(call, { ...entered('training'), permille: 250, event: { kind: 'step', step: 1, of: 4, loss: 0.5 } });
  native.finish(call);
  await running;
  native.tell(call, entered('over'));
  assert.deepEqual(heard.map(({ phase, permille }) => [phase, permille]), [
    ['checking_in', 0], ['downloading', 100], ['training', 200], ['training', 250],
  ]);
  assert.deepEqual(heard.at(-1)?.event, { kind: 'step', step: 1, of: 4, loss: 0.5 });
});

test('a progress callback that throws is in the log, and the round goes on', async (context) => {
  const lines = logged(context);
  const { native, client } = await open();
  native.heldIn = 'keys';
  let heard = 0;
  const running = client.participate({
    onProgress: () => {
      heard += 1;
      throw new Error('a mistake in the app');
    },
  });
  native.finish(await native.reached());
  assert.equal((await running).kind, 'contributed');
  assert.equal(heard, 4, 'it is called again');
  assert.equal(lines.length, heard);
  assert.match(String(lines[0]), /a mistake in the app/);
});

test('listeners hear when the status has changed: after calls and rounds in the background', async (context) => {
  const lines = logged(context);
  const { native, client } = await open();
  const heard: string[] = [];
  const listener = ({ type }: { type: string }) => void heard.push(type);
  client.addEventListener('status', () => {
    throw new Error('a mistake in the app');
  });
  client.addEventListener('status', listener);
  await client.status();
  assert.deepEqual(heard, [], 'reading changes nothing');
  await client.put([]);
  native.tellStatus();
  native.fail('participate', { kind: 'network', code: 'unreachable', message: 'the coordinator cannot be reached' });
  await rejects(client.participate(), 'network', 'unreachable');
  assert.deepEqual(heard, ['status', 'status', 'status']);
  assert.equal(lines.length, 3, 'a listener that throws disturbs neither the call nor the others');
  client.removeEventListener('status', listener);
  native.tellStatus();
  assert.equal(heard.length, 3);
});

test('rounds in the background are for the installation that enabled them', async () => {
  const { native, client } = await open();
  assert.deepEqual(await client.background.status(), { enabled: false });
  await client.background.enable();
  assert.deepEqual(JSON.parse(native.background ?? ''), { ...OPTIONS, folder: 'scale-fl' });
  assert.deepEqual(await client.background.status(), { enabled: true });
  await client.background.disable();
  assert.deepEqual(await client.background.status(), { enabled: false });
  native.fail('enableBackground', { kind: 'usage', code: 'no_background_mode', message: 'Info.plist does not name the task' });
  await rejects(client.background.enable(), 'usage', 'no_background_mode');
});

test('rounds in the background go on with the options of an update, and after an enrollment', async () => {
  const { native, client } = await open();
  assert.equal(native.background, undefined, 'nobody has enabled them');
  await client.background.enable();
  await client.close();
  globalThis.nativeModules = { ScaleFL: native };
  await (await ScaleClient.create({ ...OPTIONS, name: 'another' })).close();
  assert.equal(JSON.parse(native.background ?? '').folder, 'scale-fl');
  const updated = await ScaleClient.create({ ...OPTIONS, requirements: { idle: true } });
  assert.deepEqual(JSON.parse(native.background ?? '').requirements, { idle: true });
  const before = native.resumed;
  await updated.enroll('token');
  assert.equal(native.resumed, before + 1);
  native.fail('enroll', { kind: 'refused', code: 'expired_token', message: 'the token has ended' });
  await rejects(updated.enroll('token'), 'refused', 'expired_token');
  assert.equal(native.resumed, before + 1);
  native.fail('resumeBackground', { kind: 'usage', code: 'no_background', message: 'the person has switched it off' });
  assert.equal(await updated.enroll('token'), 'd-1', 'the device is enrolled all the same');
});

test('close pauses what runs, and lets everything go', async () => {
  const { native, client } = await open();
  native.heldIn = 'shares';
  const running = client.participate();
  await native.reached();
  await client.close();
  assert.equal((await running).kind, 'paused');
  assert.equal(native.listening, 0);
  await client.close();
  assert.equal(native.calls.filter(({ method }) => method === 'close').length, 1);
  const crossed = native.calls.length;
  await rejects(client.status(), 'usage', 'closed');
  await rejects(client.participate({ signal: AbortSignal.abort() }), 'usage', 'closed');
  await rejects(client.background.enable(), 'usage', 'closed');
  await client.background.disable();
  assert.equal(native.calls.length, crossed);
});

test('clients of one app are apart', async () => {
  const first = await open();
  const second = await open(first.native);
  await first.client.close();
  assert.deepEqual(await second.client.status(), { of: 'status' });
  assert.equal(first.native.listening, 2, 'those of the second');
});
