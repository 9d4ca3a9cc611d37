// The app in two tabs: one takes part, and the other works meanwhile.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CALLS } from "./support/proxy.mjs";
import { examples, Scene, TASK } from "./support/scene.mjs";

let scene;

before(async () => {
  scene = await Scene.set({ build: "testing", natives: 11 });
});

after(() => scene?.close());

test("a second tab works while the first one takes part, and is told so", { timeout: 120_000 }, async () => {
  const person = await scene.person();
  const first = await person.open();
  await first.enroll();
  await first.call("put", examples(10));
  await first.call("refreshModel");
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  const held = scene.proxy.hold(CALLS.agreeing);
  await first.take("round", scene.moves());
  await held.reached;

  const second = await person.open();
  assert.equal((await second.call("predict", ["CAFE ROMA"]))[0].top.length, 1);
  const status = await second.call("status");
  assert.deepEqual([status.enrolled, status.examples.total], [true, 10]);
  // The round is paid for before anything is uploaded.
  assert.equal((await second.call("privacyReport")).receipts.length, 1);
  assert.equal((await second.call("put", [{ id: "new", text: "CAFE", label: "dining" }])).added, 1);
  const { error } = await second.try("participate");
  assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "usage", "ledger_in_use"]);
  assert.match(error.message, /another client, on the page \/, has taken part in a round since/);
  const { error: forget } = await second.try("forget", "everything");
  assert.equal(forget?.kind, "usage", "nothing is forgotten under a round");

  held.release();
  const { value } = await first.end("round");
  assert.equal(value?.kind, "contributed");
  await scene.assertExactSum(value.number, { survivors: 12 });
  // Now the second one may.
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  const { number } = await second.contribute(scene.moves());
  await scene.assertExactSum(number, { survivors: 12 });
  assert.equal((await first.call("privacyReport")).receipts.length, 2, "both see the same ledger");
  await person.close();
});

test("examples that two tabs put at the same moment are all there", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tabs = [await person.open(), await person.open()];
  const put = (tab, at) => tab.page.evaluate(async (at) => {
    const calls = Array.from({ length: 20 }, (_, call) => window.app.call("app", "put",
      Array.from({ length: 10 }, (_, i) => ({ id: `${at} ${call} ${i}`, text: `SHOP ${at} ${call} ${i}`, label: "dining" }))));
    return (await Promise.all(calls)).map(({ value, error }) => value?.added ?? JSON.stringify(error));
  }, at);
  const added = await Promise.all(tabs.map(put));
  assert.deepEqual(added, [Array(20).fill(10), Array(20).fill(10)]);
  for (const tab of tabs) assert.equal((await tab.call("status")).examples.total, 400);
  await person.close();
});

test("a participation that was abandoned with its tab frees the ledger for the other one", { timeout: 120_000 }, async () => {
  const person = await scene.person();
  const first = await person.open();
  await first.enroll();
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  const held = scene.proxy.hold(CALLS.shares);
  await first.take("round", scene.moves());
  await held.reached;
  const second = await person.open();
  await first.close();
  held.release();
  const { number } = await second.contribute(scene.moves());
  await scene.assertExactSum(number, { survivors: 12 });
  await person.close();
});

test("one page that participates twice is told that it does", { timeout: 120_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open();
  await tab.enroll();
  const held = scene.proxy.hold(CALLS.checking_in);
  await tab.take("first", scene.moves());
  await held.reached;
  const { error } = await tab.try("participate");
  assert.deepEqual([error?.kind, error?.code], ["usage", "already_running"]);
  await tab.abort("first");
  held.release();
  await person.close();
});
