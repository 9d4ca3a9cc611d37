// What the device, or the coordinator, refuses.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Scene, TASK } from "./support/scene.mjs";

let scene;
let stranger;

before(async () => {
  scene = await Scene.set();
  stranger = await scene.world.tell("stranger");
});

after(() => scene?.close());

async function person(use, changes) {
  const person = await scene.person(changes);
  try {
    await use(await person.open());
  } finally {
    await person.close();
  }
}

test("tokens that are wrong, expired or foreign are refused, and a good one then enrolls", { timeout: 60_000 }, async () => {
  const expired = (await scene.world.tell("expired_token")).token;
  await person(async (tab) => {
    for (const [token, code] of [["not a token", "bad_token"], [expired, "expired_token"], [stranger.token, "bad_token"]]) {
      const { error } = await tab.try("enroll", token);
      assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "refused", code]);
      assert.match(error.message, /token/);
      assert.ok(!error.message.includes(token), "a sentence holds no token");
      assert.equal((await tab.call("status")).enrolled, false);
    }
    const needed = await tab.call("participate");
    assert.deepEqual([needed.kind, needed.code], ["enrollment_needed", "not_enrolled"]);
    assert.match(await tab.enroll(), /^[0-9a-f-]{32,36}$/);
    assert.equal((await tab.call("status")).enrolled, true);
  });
});

test("another coordinator's task key is refused", { timeout: 60_000 }, async () => {
  await person(async (tab) => {
    const { error } = await tab.try("enroll", await scene.token());
    assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "configuration", "task_key_mismatch"]);
    assert.match(error.message, /task key/);
    assert.equal((await tab.call("status")).enrolled, false);
  }, { taskKey: stranger.task_key });
});

test("options that are no options are refused before anything is sent", { timeout: 60_000 }, async () => {
  const someone = await scene.person();
  const tab = await someone.open({ client: false });
  const calls = scene.proxy.calls.length;
  for (const [changes, word] of [
    [{ taskKey: "abc" }, /taskKey/i],
    [{ taskKey: "g".repeat(64) }, /taskKey/i],
    [{ coordinator: "not a url" }, /coordinator/],
    [{ task: "Not A Task" }, /task/],
    [{ identityRoot: "12" }, /identityRoot/i],
  ]) {
    const created = await tab.tryCreate({ changes });
    const { error } = created.error ? created : await tab.try("status");
    assert.deepEqual([error?.name, error?.kind], ["ScaleError", "configuration"], JSON.stringify([changes, error]));
    assert.match(error.message, word);
  }
  assert.equal(scene.proxy.calls.length, calls);
  await someone.close();
});

// The last one: it damages the coordinator's models for good.
test("a model that was tampered with is not installed, and a round that offers it is left", { timeout: 90_000 }, async () => {
  await person(async (tab) => {
    await tab.enroll();
    assert.ok((await scene.world.tell("tamper")).changed > 0);
    const { error } = await tab.try("refreshModel");
    assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "model", "digest_mismatch"]);
    const { error: none } = await tab.try("predict", ["CAFE ROMA"]);
    assert.deepEqual([none?.kind, none?.code], ["usage", "no_model"], "nothing of it is installed");

    await tab.call("put", [{ id: "1", text: "CAFE ROMA", label: "dining" }]);
    // Other devices, so that a round begins at all: they leave it as well.
    await scene.world.tell("crowd", { task: TASK, count: 12 });
    let outcome;
    do outcome = await tab.call("participate");
    while (outcome.kind === "waited");
    assert.deepEqual([outcome.kind, outcome.code], ["left", "digest_mismatch"], outcome.sentence);
    await scene.world.tell("disperse");
    assert.equal((await tab.call("privacyReport")).receipts.length, 0, "nothing was sent, nothing is paid");
  });
});
