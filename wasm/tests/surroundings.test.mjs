// What a page knows of the device reaches the device's rules, and a page that is about to be suspended keeps its round.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CALLS } from "./support/proxy.mjs";
import { Scene, TASK } from "./support/scene.mjs";

let scene;

before(async () => {
  scene = await Scene.set({ build: "testing", natives: 11 });
});

after(() => scene?.close());

const missing = async (tab) => (await tab.call("status")).missing.map(({ code }) => code);

// A battery that a test sets, in place of the browser's; it answers as late as a real one.
function battery() {
  const own = Object.assign(new EventTarget(), { charging: false, level: 0.05 });
  window.setBattery = (change, event) => {
    Object.assign(own, change);
    own.dispatchEvent(new Event(event));
  };
  navigator.getBattery = () => new Promise((resolve) => setTimeout(() => resolve(own), 50));
}

test("the first call knows the battery, and later ones its changes", { timeout: 30_000 }, async () => {
  const requirements = { unmetered: false, power: "charging_or_battery_fine" };
  const person = await scene.person({ requirements });
  const tab = await person.open({ before: battery });
  assert.deepEqual(await missing(tab), ["power"]);
  await tab.page.evaluate(() => window.setBattery({ charging: true }, "chargingchange"));
  assert.deepEqual(await missing(tab), []);
  await tab.page.evaluate(() => window.setBattery({ charging: false, level: 0.9 }, "levelchange"));
  assert.deepEqual(await missing(tab), []);
  await tab.page.evaluate(() => window.setBattery({ level: 0.1 }, "levelchange"));
  assert.deepEqual(await missing(tab), ["power"]);
  await person.close();
});

test("what changes while the worker starts is not lost", { timeout: 30_000 }, async () => {
  const person = await scene.person({ requirements: { unmetered: false, power: "charging" } });
  const tab = await person.open({ before: battery });
  const found = await tab.page.evaluate(async () => {
    const first = window.app.call("app", "status");
    window.setBattery({ charging: true }, "chargingchange");
    return [await first, await window.app.call("app", "status")];
  });
  assert.deepEqual(found[1].value.missing, [], JSON.stringify(found));
  await person.close();
});

test("a data saver, a metered network and a page in use count", { timeout: 30_000 }, async () => {
  const person = await scene.person({ requirements: { unmetered: true, power: "any", idle: true, strict: true } });
  const network = () => {
    const own = Object.assign(new EventTarget(), { type: "cellular", saveData: true });
    window.setNetwork = (change) => {
      Object.assign(own, change);
      own.dispatchEvent(new Event("change"));
    };
    Object.defineProperty(navigator, "connection", { value: own });
    navigator.getBattery = () => Promise.reject(new Error("forbidden by the page's policy"));
  };
  const tab = await person.open({ before: network });
  assert.deepEqual(await missing(tab), ["unmetered", "idle", "not_saving"]);
  await tab.page.evaluate(() => window.setNetwork({ type: "wifi", saveData: false }));
  assert.deepEqual(await missing(tab), ["idle"]);
  await person.close();
});

for (const [event, fire] of [
  ["freeze", () => document.dispatchEvent(new Event("freeze"))],
  ["pagehide", () => window.dispatchEvent(new Event("pagehide"))],
]) {
  test(`a round is kept when the page gets ${event}, and goes on`, { timeout: 120_000 }, async () => {
    const person = await scene.person();
    const tab = await person.open();
    await tab.enroll();
    await scene.world.tell("play", { task: TASK, rounds: 1 });
    const held = scene.proxy.hold(CALLS.shares);
    await tab.take("round", scene.moves());
    await held.reached;
    await tab.page.evaluate(fire);
    const { value, error } = await tab.end("round");
    assert.deepEqual([value?.kind, value?.phase], ["paused", "shares"], JSON.stringify([value, error]));
    held.release();
    const { number } = await tab.contribute(scene.moves());
    await scene.assertExactSum(number, { survivors: 12 });
    await person.close();
  });
}
