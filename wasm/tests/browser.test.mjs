// What the library asks of a browser, and what an app may put in place of its parts.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { examples, Scene } from "./support/scene.mjs";

let scene;

before(async () => {
  scene = await Scene.set();
});

after(() => scene?.close());

const fetched = () => scene.site.served.map(({ path }) => path).filter((path) => /worker|wasm/.test(path));

for (const [what, spoil] of [
  ["without SIMD in WebAssembly", () => {
    WebAssembly.validate = () => false;
  }],
  ["without WebAssembly", () => {
    delete window.WebAssembly;
  }],
  ["without IndexedDB", () => {
    Object.defineProperty(window, "indexedDB", { value: undefined });
  }],
  ["without locks", () => {
    Object.defineProperty(navigator, "locks", { value: undefined });
  }],
  ["without cryptography, as on a page that is not secure", () => {
    Object.defineProperty(crypto, "subtle", { value: undefined });
  }],
  ["without workers", () => {
    delete window.Worker;
  }],
]) {
  test(`a browser ${what} is refused before anything is downloaded`, { timeout: 30_000 }, async () => {
    scene.site.served.length = 0;
    const person = await scene.person();
    const tab = await person.open({ client: false, before: spoil });
    const { error, ours } = await tab.tryCreate();
    assert.deepEqual([error?.name, error?.kind, error?.code, ours], ["ScaleError", "unsupported", "unsupported_browser", true]);
    assert.match(error.message, /browser|page/);
    assert.deepEqual(fetched(), []);
    await person.close();
  });
}

test("a worker that has nothing to do ends, and the next call starts another", { timeout: 60_000 }, async () => {
  const person = await scene.person({ timeouts: { idleMs: 500 } });
  const tab = await person.open();
  await tab.call("put", examples(4));
  await tab.workers(1);
  await tab.workers(0);
  assert.equal((await tab.call("status")).examples.total, 4);
  await tab.workers(1);
  await tab.assertClean();
  await person.close();
});

test("a worker that waits for an answer is not idle", { timeout: 60_000 }, async () => {
  const person = await scene.person({ timeouts: { idleMs: 300 } });
  const tab = await person.open();
  const held = scene.proxy.hold("/Enroll");
  await tab.begin("enroll", "enroll", await scene.token(), {});
  await held.reached;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  held.release();
  const { value, error } = await tab.end("enroll");
  assert.equal(error, undefined, JSON.stringify(error));
  assert.ok(value.length > 0);
  await person.close();
});

test("an app may bring its own worker", { timeout: 30_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open({ keepWorkers: true });
  assert.equal((await tab.call("status")).enrolled, false);
  assert.equal(await tab.page.evaluate(() => window.app.workers()), 1);
  await tab.assertClean();
  await person.close();
});

for (const what of ["text", "URL", "response", "module"]) {
  test(`an app may bring the WebAssembly as a ${what}`, { timeout: 30_000 }, async () => {
    const person = await scene.person();
    const tab = await person.open({ client: false });
    scene.site.served.length = 0;
    const answers = await tab.page.evaluate(async ([options, make]) => {
      // Under the page's policy no text becomes code, so the choice is made by name.
      const makers = {
        text: () => "/package/scale_fl.wasm",
        URL: () => new URL("/package/scale_fl.wasm", location.href),
        response: () => fetch("/package/scale_fl.wasm"),
        module: async () => WebAssembly.compile(await (await fetch("/package/scale_fl.wasm")).arrayBuffer()),
      };
      const wasm = await makers[make]();
      const created = await window.app.create("app", { ...options, wasm });
      return [created, await window.app.call("app", "status")];
    }, [scene.options(), what]);
    assert.deepEqual(answers[0], { value: true });
    assert.equal(answers[1].value?.enrolled, false, JSON.stringify(answers[1]));
    const loads = scene.site.served.filter(({ path }) => path.endsWith(".wasm")).length;
    assert.equal(loads, 1, "it is loaded once");
    await tab.assertClean();
    await person.close();
  });
}

test("a WebAssembly that is not there fails the call, and says where it was looked for", { timeout: 30_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open({ client: false });
  const created = await tab.tryCreate({ changes: { wasm: "/package/missing.wasm" } });
  const { error } = created.error ? created : await tab.try("status");
  assert.equal(error?.name, "ScaleError", JSON.stringify(error));
  assert.match(error.message, /missing\.wasm/);
  await person.close();
});

test("a worker whose script does not come fails the call, and the next one tries again", { timeout: 30_000 }, async () => {
  const person = await scene.person({ timeouts: { silenceMs: 700 } });
  const tab = await person.open({ client: false });
  const answers = await tab.page.evaluate(async (options) => {
    let made = 0;
    // A script that is no worker of ours never says a word.
    const script = () => (made++ === 0 ? "/package/index.js" : "/package/worker.js");
    options.worker = () => new Worker(script(), { type: "module" });
    await window.app.create("app", options);
    return [await window.app.call("app", "status"), await window.app.call("app", "status")];
  }, scene.options({ timeouts: { silenceMs: 700 } }));
  assert.deepEqual([answers[0].error?.kind, answers[0].error?.code], ["internal", "worker_not_started"]);
  assert.match(answers[0].error.message, /script/);
  assert.equal(answers[1].value?.enrolled, false, JSON.stringify(answers[1]));
  await person.close();
});

test("a closed client answers nothing any more, and its worker is gone", { timeout: 30_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open();
  await tab.call("status");
  await tab.call("close");
  await tab.workers(0);
  const { error } = await tab.try("status");
  assert.deepEqual([error?.name, error?.kind], ["ScaleError", "usage"]);
  await person.close();
});
