// TypeScript, JSON, the Android module's Kotlin and the library together, against a real coordinator.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { ScaleClient, type Progress } from '@scale-fl/react-native';

import { rejects } from './support/app.js';
import { contributes, examples, Scene, TASK } from './support/scene.js';

let scene: Scene;
before(async () => {
  scene = await Scene.set({ natives: 11 });
});
after(() => scene.close());

test('one app and eleven native devices finish a round', async () => {
  const client = await scene.enrolled();
  const before = await client.status();
  assert.deepEqual([before.enrolled, before.examples.total, before.examples.byLabel], [true, 40, { dining: 20, fuel: 20 }]);
  await scene.world.tell('play', { task: TASK, rounds: 1 });
  const heard: Progress[] = [];
  const { number, receipt } = await contributes(client, { onProgress: (progress) => heard.push(progress) });
  const { survivors, beyond } = await scene.world.beyondNatives(TASK, number, [40]);
  assert.equal(survivors, 12);
  assert.ok(beyond.length > 0, 'the app has moved weights');
  assert.ok(heard.length > 0);
  for (const { permille, sentence } of heard) assert.ok(permille >= 0 && permille <= 1000 && sentence.length > 0);
  const report = await client.privacyReport();
  assert.deepEqual(report.receipts, [receipt]);
  assert.deepEqual((JSON.parse(await client.exportPrivacyReport()) as typeof report).receipts.length, 1);
  const after = await client.status();
  assert.equal(after.last?.outcome, 'contributed');
  const [prediction] = await client.predict(['CAFE ROMA 7'], { top: 3 });
  assert.deepEqual(prediction?.top.map(({ label }) => label).sort(), ['dining', 'fuel', 'groceries']);
  await client.close();
});

test('a JavaScript that reloads pauses its participation, and goes on with the next client', async () => {
  const options = scene.options();
  const client = await ScaleClient.create(options);
  await client.enroll(await scene.token());
  await client.put(examples(40));
  const running = client.participate();
  while ((await client.status()).phase === null) await new Promise((resolve) => setTimeout(resolve, 20));
  scene.bridge.reload();
  const outcome = await running;
  // No round was joined yet: there is nothing to go on with.
  assert.deepEqual([outcome.kind, outcome.kind === 'waited' && outcome.code], ['waited', 'paused'], JSON.stringify(outcome));
  await rejects(client.status(), 'usage', 'closed');
  const next = await ScaleClient.create(options);
  assert.equal((await next.status()).examples.total, 40);
  await scene.world.tell('play', { task: TASK, rounds: 1 });
  await contributes(next);
  await next.close();
});

test('what the library refuses is a ScaleError', async () => {
  await rejects(ScaleClient.create(scene.options({ taskKey: 'short' })), 'configuration', 'bad_option');
  await rejects(ScaleClient.create({ ...scene.options(), unknown: true } as never), 'configuration', 'bad_option');
  const client = await ScaleClient.create(scene.options({ name: 'refused' }));
  await rejects(ScaleClient.create(scene.options({ name: 'refused', task: 'other' })), 'usage', 'folder_in_use');
  await rejects(client.put([{ id: 'a', text: 'b' } as never]), 'usage', 'bad_argument');
  const { token } = await scene.world.tell('expired_token');
  await rejects(client.enroll(token), 'refused', 'expired_token');
  await rejects(client.predict(['a']), 'usage', 'no_model');
  assert.equal((await client.participate()).kind, 'enrollment_needed');
  assert.equal((await client.put(examples(3))).added, 3);
  assert.equal(await client.remove(['t-1', 'nobody']), 1);
  assert.ok((await client.guardrails()).cohortMin > 1);
  assert.equal(await client.resetPrivacyLedger(), false);
  await client.forget('everything');
  assert.equal((await client.status()).examples.total, 0);
  await client.close();
  await rejects(client.status(), 'usage', 'closed');
});

test('the quick start of the README takes part', async () => {
  const quickStart = readFileSync(new URL('./quick-start.js', import.meta.url), 'utf8');
  const replaced = [
    ["'https://fl.example.org'", JSON.stringify(scene.url)],
    ["'categorizer'", JSON.stringify(TASK)],
    [/'…64 hex digits.*?'/, JSON.stringify(scene.taskKey)],
  ] as const;
  const program = replaced.reduce((text, [from, to]) => {
    assert.ok(text.search(from) >= 0, `${from} is not in the quick start`);
    return text.replace(from, to);
  }, quickStart);
  const file = new URL('./quick-start-here.js', import.meta.url);
  writeFileSync(file, program);
  const fetched = globalThis.fetch;
  const said: string[] = [];
  const log = console.log;
  globalThis.fetch = async () => new Response(await scene.token());
  console.log = (...words: unknown[]) => void said.push(words.join(' '));
  try {
    const { start } = (await import(pathToFileURL(file.pathname).href)) as { start(): Promise<void> };
    await scene.world.tell('play', { task: TASK, rounds: 1 });
    await start();
  } finally {
    globalThis.fetch = fetched;
    console.log = log;
  }
  assert.ok(said.some((line) => / %: /.test(line)), said.join('\n'));
  assert.ok(said.some((line) => /groceries|dining|fuel/.test(line)), `a prediction:\n${said.join('\n')}`);
});
