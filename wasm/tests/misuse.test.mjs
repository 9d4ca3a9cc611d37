// What an app does wrong is its own error: it names the argument, not what was in it, and nothing else is disturbed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CALLS } from "./support/proxy.mjs";
import { examples, Scene } from "./support/scene.mjs";

let scene;

before(async () => {
  scene = await Scene.set();
});

after(() => scene?.close());

test("an argument that is none is refused by name, and a call beside it goes on", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open();
  const answers = await tab.page.evaluate(async (many) => {
    const client = window.app.client("app");
    const beside = client.put(many);
    const wrong = {
      "enroll undefined": () => client.enroll(undefined),
      "enroll object": () => client.enroll({ token: "SECRET" }),
      "put nothing": () => client.put(undefined),
      "put text": () => client.put("SECRET"),
      "put big": () => client.put([{ id: "a", text: "SECRET", label: "b", time: 5n }]),
      "put NaN": () => client.put([{ id: "a", text: "SECRET", label: "b", time: NaN }]),
      "put number": () => client.put([{ id: "a", text: "SECRET", label: 7 }]),
      "predict text": () => client.predict("SECRET"),
      "predict none": () => client.predict(undefined),
      "predict top": () => client.predict(["SECRET"], { top: -1 }),
      "predict NaN": () => client.predict(["SECRET"], { top: NaN }),
      "participate budget": () => client.participate({ budgetMs: NaN }),
      "participate typo": () => client.participate({ onprogres: 1 }),
      "forget": () => client.forget("all of it"),
    };
    const found = {};
    for (const [name, call] of Object.entries(wrong)) {
      found[name] = await call().then(() => "nothing", ({ name, kind, message }) => ({ name, kind, message }));
    }
    return { found, beside: await beside };
  }, examples(2_000));
  assert.equal(answers.beside.added, 2_000);
  for (const [name, error] of Object.entries(answers.found)) {
    assert.deepEqual([error.name, error.kind], ["ScaleError", "usage"], `${name}: ${JSON.stringify(error)}`);
    assert.doesNotMatch(error.message, /SECRET/, name);
  }
  await tab.assertClean();
  await person.close();
});

test("a framework's proxy, functions beside the data and half a character are fine", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open();
  const added = await tab.page.evaluate(async () => {
    const client = window.app.client("app");
    const proxied = new Proxy([new Proxy({ id: "p", text: "CAFE", label: "dining" }, {})], {});
    const { added } = await client.put(proxied);
    const cut = await client.put([{ id: "c", text: "CAF\ud83d", label: "dining", time: Date.now() - 0.25 }]);
    const outcome = await client.participate({ budgetMs: 1.5, onprogress: () => {} }).catch(({ kind }) => ({ kind }));
    return [added, cut.added, outcome.kind];
  });
  assert.deepEqual(added, [1, 1, "enrollment_needed"]);
  await person.close();
});

test("closing ends what runs with its own outcome, twice is once, and an unused client loads nothing", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open();
  await tab.enroll();
  const held = scene.proxy.hold(CALLS.checking_in);
  await tab.begin("round", "participate", {});
  await held.reached;
  const ended = await tab.page.evaluate(async () => {
    const client = window.app.client("app");
    const aborted = window.app.abort("round");
    await Promise.all([client.close(), client.close()]);
    const later = await Promise.all(["put", "participate", "status"].map((method) => window.app.call("app", method)));
    return { round: await aborted, later: later.map(({ error }) => error?.code) };
  });
  held.release();
  assert.deepEqual([ended.round.value?.kind, ended.round.value?.code], ["left", "cancelled"], JSON.stringify(ended));
  assert.deepEqual(ended.later, ["closed", "closed", "closed"]);

  scene.site.served.length = 0;
  await tab.create({ name: "unused" });
  await tab.page.evaluate(() => window.app.client("unused").close());
  const loaded = scene.site.served.map(({ path }) => path).filter((path) => /worker|wasm/.test(path));
  assert.deepEqual(loaded, []);
  await person.close();
});

test("a call can be aborted while its worker starts, and two at once do not wait for each other", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open({ client: false });
  const found = await tab.page.evaluate(async (options) => {
    // A script that is no worker of ours: this one never starts.
    options.worker = () => new Worker("/package/index.js", { type: "module" });
    await window.app.create("app", options);
    const client = window.app.client("app");
    const at = performance.now();
    const refreshed = await client.refreshModel({ signal: AbortSignal.timeout(100) }).catch(({ name }) => name);
    const left = await client.participate({ signal: AbortSignal.timeout(100) });
    await client.close();
    return [refreshed, left.kind, left.code, performance.now() - at];
  }, scene.options());
  assert.deepEqual(found.slice(0, 3), ["AbortError", "left", "cancelled"]);
  assert.ok(found[3] < 1_500, `${found[3]} ms`);

  const other = await person.open();
  await other.enroll();
  const held = scene.proxy.hold(CALLS.checking_in);
  const codes = await other.page.evaluate(async () => {
    const client = window.app.client("app");
    const first = client.participate();
    const second = await client.participate().catch(({ code }) => code);
    return [second, first !== undefined];
  });
  held.release();
  assert.deepEqual(codes, ["already_running", true]);
  await person.close();
});
