// Whatever a person does to the page in the middle of a round: the round goes on, and its sum is exact.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CALLS } from "./support/proxy.mjs";
import { Scene, TASK } from "./support/scene.mjs";

// In these phases the device waits for an answer that the proxy holds back; training is made to take its time.
const PHASES = ["checking_in", "downloading", "training", "keys", "shares", "uploading", "agreeing", "unmasking"];
const SLOW = { steps: 150, stepMs: 20 };

let scene;

before(async () => {
  scene = await Scene.set({ build: "testing", natives: 11 });
});

after(() => scene?.close());

// Takes part until the device is in `phase`.
async function stopped(tab, phase) {
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  const held = phase === "training" ? undefined : scene.proxy.hold(CALLS[phase]);
  await tab.take("first", scene.moves(phase === "training" ? SLOW : {}));
  await (held ? held.reached : tab.reached("first", phase));
  const { phases, over } = await tab.progress("first");
  assert.deepEqual([phases.at(-1), over], [phase, false]);
  return held;
}

for (const phase of PHASES) {
  test(`a page that is loaded again while ${phase} goes on with the round`, { timeout: 120_000 }, async () => {
    const person = await scene.person();
    const tab = await person.open();
    await tab.enroll();
    const held = await stopped(tab, phase);
    await tab.page.reload();
    held?.release();
    await tab.page.waitForFunction(() => window.app !== undefined);
    await tab.create();
    const { number } = await tab.contribute(scene.moves());
    await scene.assertExactSum(number, { survivors: 12 });
    assert.equal((await tab.call("privacyReport")).receipts.length, 1, "the round is paid for once");
    await person.close();
  });
}

for (const phase of PHASES) {
  test(`a worker that ends while ${phase} fails its calls, and the next one goes on with the round`, { timeout: 120_000 }, async () => {
    const person = await scene.person();
    const tab = await person.open({ keepWorkers: true });
    await tab.enroll();
    const held = await stopped(tab, phase);
    await tab.page.evaluate(() => window.app.killWorker());
    const { error } = await tab.end("first");
    assert.equal(error?.name, "ScaleError");
    assert.equal(error.kind, "internal");
    held?.release();
    const { number } = await tab.contribute(scene.moves());
    await scene.assertExactSum(number, { survivors: 12 });
    assert.equal(await tab.page.evaluate(() => window.app.workers()), 2, "one fresh worker");
    assert.equal((await tab.call("privacyReport")).receipts.length, 1, "the round is paid for once");
    await person.close();
  });
}

test("a worker that panics fails its calls, and the next call has a fresh one", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open({ keepWorkers: true });
  await tab.enroll();
  await tab.begin("status", "testing", "panic", {});
  const { error } = await tab.end("status");
  assert.deepEqual([error?.name, error?.kind], ["ScaleError", "internal"]);
  assert.equal((await tab.call("status")).enrolled, true);
  assert.equal(await tab.page.evaluate(() => window.app.workers()), 2);
  await person.close();
});
