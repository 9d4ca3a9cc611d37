// Networks that go away, and servers that fall silent.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CALLS } from "./support/proxy.mjs";
import { Scene, TASK } from "./support/scene.mjs";

// In place of the minute after which a call is given up.
const IMPATIENT = { timeouts: { callMs: 1_500, silenceMs: 1_500 } };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let scene;

before(async () => {
  scene = await Scene.set({ build: "testing", natives: 11 });
});

after(() => scene?.close());

// A browser that has just come to a phase of a round.
async function arrived(phase, { changes } = {}) {
  const person = await scene.person(changes);
  const tab = await person.open();
  await tab.enroll();
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  const held = scene.proxy.hold(CALLS[phase]);
  await tab.take("round", scene.moves());
  await held.reached;
  return { person, tab, held };
}

async function contributed(tab) {
  const { value, error } = await tab.end("round");
  assert.equal(value?.kind, "contributed", JSON.stringify(value ?? error));
  await scene.assertExactSum(value.number, { survivors: 12 });
}

for (const phase of ["downloading", "keys", "uploading"]) {
  test(`a round goes on after the network was away while ${phase}`, { timeout: 120_000 }, async () => {
    const { person, tab, held } = await arrived(phase);
    scene.proxy.away = true;
    held.release();
    await pause(2_000);
    scene.proxy.away = false;
    await contributed(tab);
    await person.close();
  });
}

test("a round goes on after the browser was offline", { timeout: 120_000 }, async () => {
  const { person, tab, held } = await arrived("shares");
  await person.context.setOffline(true);
  held.release();
  await pause(2_000);
  await person.context.setOffline(false);
  await contributed(tab);
  await person.close();
});

test("a round goes on after the coordinator was killed", { timeout: 120_000 }, async () => {
  const { person, tab, held } = await arrived("agreeing");
  await scene.world.tell("kill");
  held.release();
  await scene.world.tell("restart");
  await contributed(tab);
  await person.close();
});

test("a call that nobody answers ends with a network error", { timeout: 60_000 }, async () => {
  const person = await scene.person(IMPATIENT);
  const tab = await person.open();
  const token = await scene.token();
  for (const [method, part, ...args] of [["enroll", CALLS.enroll, token], ["refreshModel", CALLS.model]]) {
    const silence = scene.proxy.silence(part);
    const started = Date.now();
    const { error } = await tab.try(method, ...args);
    const ms = Date.now() - started;
    silence.release();
    assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "network", "unreachable"], method);
    assert.match(error.message, /reach|answer/, method);
    assert.ok(ms >= 1_400 && ms < 5_000, `${method}: ${ms} ms`);
    await tab.call(method, ...args);
  }
  await person.close();
});

test("a download that falls silent ends with a network error, and another one succeeds", { timeout: 60_000 }, async (t) => {
  const person = await scene.person(IMPATIENT);
  const tab = await person.open();
  await tab.enroll();
  const silence = scene.proxy.silence(CALLS.downloading, 1_000);
  const started = Date.now();
  const { error } = await tab.try("refreshModel");
  const ms = Date.now() - started;
  silence.release();
  t.diagnostic(`${ms} ms`);
  assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "network", "unreachable"], JSON.stringify(error));
  assert.ok(ms >= 1_400, `${ms} ms`);
  assert.ok((await tab.call("refreshModel")).version >= 1);
  await person.close();
});

test("in a round, a call that nobody answers is made again", { timeout: 60_000 }, async () => {
  const person = await scene.person(IMPATIENT);
  const tab = await person.open();
  await tab.enroll();
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  const silence = scene.proxy.silence(CALLS.shares);
  await tab.take("round", scene.moves());
  await silence.reached;
  await pause(2_500);
  silence.release();
  await contributed(tab);
  await person.close();
});
