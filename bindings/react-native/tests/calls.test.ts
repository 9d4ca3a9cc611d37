// What crosses to the native side, what comes back, and how errors look.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ScaleClient, ScaleError, type ErrorKind } from '@scale-fl/react-native';

import { OPTIONS, open, rejects } from './support/app.js';
import { FakeNative } from './support/fake.js';

test('the configuration crosses as JSON, with the name in place of the folder', async () => {
  const { native } = await open();
  await ScaleClient.create({ ...OPTIONS, name: 'second', guardrails: { cohortMin: 50 }, certificateAuthority: 'PEM' });
  const [first, second] = native.configurations.map((json) => JSON.parse(json));
  assert.deepEqual(first, { ...OPTIONS, folder: 'scale-fl' });
  assert.deepEqual(second, { ...OPTIONS, folder: 'second', guardrails: { cohortMin: 50 }, certificateAuthority: 'PEM' });
});

test('every call crosses with its arguments as texts', async () => {
  const { native, client } = await open();
  const example = { id: 'a', text: 'half a character: \ud83d', label: 'b' };
  assert.equal(await client.enroll('token'), 'd-1');
  assert.equal((await client.put([example])).added, 1);
  assert.equal(await client.remove(['a', 'b']), 2);
  assert.deepEqual(await client.predict(['x', 'y'], { top: 3 }), { of: 'predict' });
  assert.equal(await client.refreshModel(), null);
  assert.equal((await client.participate({ budgetMs: 1500.7, job: 'j', ignoreConditions: true })).kind, 'contributed');
  assert.deepEqual(await client.status(), { of: 'status' });
  assert.deepEqual(await client.privacyReport(), { of: 'privacyReport' });
  assert.equal(await client.exportPrivacyReport(), '{"format":1}');
  assert.equal(await client.resetPrivacyLedger(), false);
  assert.deepEqual(await client.guardrails(), { of: 'guardrails' });
  assert.equal(await client.forget('examples'), undefined);
  assert.deepEqual(native.calls.map(({ method, args }) => [method, ...args]), [
    ['enroll', 'token'],
    ['put', JSON.stringify([{ ...example, text: 'half a character: \ufffd' }])],
    ['remove', 'a', 'b'],
    ['predict', '3', 'x', 'y'],
    ['refreshModel'],
    ['participate', '{"job":"j","ignoreConditions":true,"budgetMs":1500}'],
    ['status'],
    ['privacyReport'],
    ['exportPrivacyReport'],
    ['resetPrivacyLedger'],
    ['guardrails'],
    ['forget', 'examples'],
  ]);
  const announced = native.calls.filter(({ call }) => call !== 0).map(({ method }) => method);
  assert.deepEqual(announced, ['enroll', 'refreshModel', 'participate'], 'what a signal can stop');
});

const KINDS: Record<Exclude<ErrorKind, 'cancelled'>, string> = {
  configuration: 'foreign_task', usage: 'no_model', network: 'unreachable', refused: 'rate_limited', storage: 'full',
  privacy_ledger: 'ledger_lost', model: 'bad_digest', unsupported: 'too_old', internal: 'panic',
};

for (const [kind, code] of Object.entries(KINDS) as [keyof typeof KINDS, string][]) {
  test(`a failure of kind ${kind} is a ScaleError with its code and sentence`, async () => {
    const { native, client } = await open();
    const message = `what was wrong: ${kind}`;
    native.fail('status', { kind, code, message, ...(kind === 'refused' ? { retryAfterMs: 2000 } : {}) });
    const error = await rejects(client.status(), kind, code);
    assert.equal(error.message, message);
    assert.equal(error.retryAfterMs, kind === 'refused' ? 2000 : undefined);
    assert.deepEqual(await client.status(), { of: 'status' }, 'the next call is made as always');
  });
}

test('a native module that fails itself is an internal error', async () => {
  const { native, client } = await open();
  native.answers.set('status', () => Promise.reject(new Error('not enough arguments')));
  const error = await rejects(client.status(), 'internal', 'native_module');
  assert.match(error.message, /not enough arguments/);
});

test('an app without the native part is told so', async () => {
  globalThis.nativeModules = {};
  const error = await rejects(ScaleClient.create(OPTIONS), 'unsupported', 'no_native_module');
  assert.match(error.message, /Expo Go/);
});

test('what the native side refuses about the configuration is told by create', async () => {
  const native = new FakeNative();
  native.fail('create', { kind: 'usage', code: 'folder_in_use', message: 'a client with another configuration has it open' });
  await rejects(open(native), 'usage', 'folder_in_use');
  assert.equal(native.listening, 0);
});

test('wrong arguments are told at once, and do not cross', async () => {
  const { native, client } = await open();
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  // As an app in plain JavaScript calls it.
  const any = (value: unknown) => value as never;
  for (const [name, call] of [
    ['token', () => client.enroll(any(undefined))],
    ['token', () => client.enroll(any(null))],
    ['examples', () => client.put(any(undefined))],
    ['examples', () => client.put(any([circular]))],
    ['examples', () => client.put(any([{ id: 'a', text: 'b', label: 'c', time: NaN }]))],
    ['examples', () => client.put(any([{ id: 1n }]))],
    ['ids', () => client.remove(any('a'))],
    ['ids[1]', () => client.remove(any(['a', 1]))],
    ['texts', () => client.predict(any(undefined))],
    ['texts[0]', () => client.predict(any([{}]))],
    ['top', () => client.predict(['a'], { top: 0 })],
    ['top', () => client.predict(['a'], { top: any('many') })],
    ['budgetMs', () => client.participate({ budgetMs: -1 })],
    ['budgetMs', () => client.participate({ budgetMs: Infinity })],
    ['what', () => client.forget(any('nothing'))],
  ] as [string, () => Promise<unknown>][]) {
    const error = await rejects(call(), 'usage', 'bad_argument');
    assert.ok(error.message.includes(`\`${name}\``), `${name}: ${error.message}`);
  }
  for (const name of ['', '../other', 'a/b', 'ä', 'x'.repeat(65)]) {
    await rejects(ScaleClient.create({ ...OPTIONS, name }), 'configuration', 'bad_option');
  }
  assert.deepEqual(native.calls, []);
  assert.equal(native.configurations.length, 1);
});

test('an error is one that every JavaScript knows', () => {
  const error = new ScaleError('network', 'unreachable', 'no way there');
  assert.ok(error instanceof Error);
  assert.equal(String(error), 'ScaleError: no way there');
});
