// Whole rounds of a browser and native devices, under the policy that a bank sets.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brotliCompressSync, gzipSync } from "node:zlib";

import { buildFolder } from "./support/places.mjs";
import { examples, LABELS, Scene, TASK } from "./support/scene.mjs";

// The text bag of the demo: 65,536 rows of 18, for 18 categories.
const DEMO = { buckets: 65_536, dim: 18, labels: [...LABELS, ...Array.from({ length: 15 }, (_, i) => `category ${i}`)] };

test("one browser and eleven native devices publish the exact sum", { timeout: 120_000 }, async () => {
  const scene = await Scene.set({ build: "testing", natives: 11 });
  try {
    const tab = await (await scene.person()).open();
    await tab.enroll();
    await scene.world.tell("play", { task: TASK, rounds: 1 });
    const { number } = await tab.contribute(scene.moves());
    await scene.assertExactSum(number, { survivors: 12 });
    await tab.assertClean();
  } finally {
    await scene.close();
  }
});

test("two browsers are in one round, and the sum is exact", { timeout: 120_000 }, async () => {
  const scene = await Scene.set({ build: "testing", natives: 10 });
  try {
    const tabs = [await (await scene.person()).open(), await (await scene.person()).open()];
    for (const tab of tabs) await tab.enroll();
    await scene.world.tell("play", { task: TASK, rounds: 1 });
    const [first, second] = await Promise.all(tabs.map((tab) => tab.contribute(scene.moves())));
    assert.equal(first.number, second.number);
    await scene.assertExactSum(first.number, { survivors: 12, moved: 2 });
    for (const tab of tabs) await tab.assertClean();
  } finally {
    await scene.close();
  }
});

test("a browser takes part in rounds whose training is noised", { timeout: 120_000 }, async () => {
  const scene = await Scene.set({ task: { privacy: "example", grace_ms: 2_000 } });
  try {
    const tab = await (await scene.person()).open();
    await tab.enroll();
    await tab.call("put", examples(40));
    await scene.world.tell("crowd", { task: TASK, count: 12 });
    const outcome = await tab.contribute();
    const round = await scene.world.closed(TASK, outcome.number);
    assert.deepEqual([round.phase, round.survivors], ["finished", 12], round.reason);
    const report = await tab.call("privacyReport");
    assert.equal(report.receipts.length, 1);
    assert.equal(report.receipts[0].protection, "examples");
    assert.deepEqual(outcome.receipt, report.receipts[0], "the outcome has the receipt of its round");
    assert.ok(report.lifetime.example > 0 && report.lifetime.example < 8, JSON.stringify(report.lifetime));
    assert.equal(report.lifetime.aggregate, "no_bound", "no bound for the person is claimed");
    await tab.assertClean();
  } finally {
    await scene.close();
  }
});

// What is published is trained for real here: how exact the sum is shows in what it does not change.
test("the demo's model is trained without a long task on the page", { timeout: 240_000 }, async (t) => {
  const scene = await Scene.set({ natives: 11, task: { ...DEMO, stage_ms: 120_000 } });
  try {
    let tasks;
    // Another process may keep the machine busy for 50 ms; the library does so every time.
    for (let attempt = 0; attempt < 3; attempt++) {
      const person = await scene.person();
      const tab = await person.open();
      await tab.enroll();
      await tab.call("put", examples(40));
      await scene.world.tell("play", { task: TASK, rounds: 1 });
      const { number } = await tab.contribute(undefined, 180_000);
      const { survivors, beyond } = await scene.world.beyondNatives(TASK, number, [40]);
      assert.equal(survivors, 12);
      // Examples of two merchants touch a few hundred rows. A mask that is left over would touch every one.
      const rows = new Set(beyond.map(([index]) => Math.floor(index / DEMO.dim)).filter((row) => row < DEMO.buckets));
      t.diagnostic(`${beyond.length} of ${scene.task.parameters} weights moved, in ${rows.size} rows`);
      assert.ok(rows.size > 10 && rows.size < 500, `${rows.size} rows moved`);
      await tab.assertClean();

      // The round has left its model on the device.
      const [prediction] = await tab.call("predict", ["CAFE ROMA 7"], { top: 2 });
      assert.equal(prediction.top.length, 2);
      tasks = (await tab.longTasks()).filter(({ duration }) => duration > 50);
      if (attempt === 0) await coldPrediction(t, person, tab);
      await person.close();
      t.diagnostic(`long tasks on the page: ${JSON.stringify(tasks)}`);
      if (tasks.length === 0) break;
    }
    assert.deepEqual(tasks, [], "tasks of more than 50 ms on the page, three times in a row");
  } finally {
    await scene.close();
  }
});

// A page that is opened again predicts soon, from what is on the device; and loads the package's files only.
async function coldPrediction(t, person, first) {
  await first.call("refreshModel");
  await first.close();
  const { site } = person.scene;
  site.served.length = 0;
  const tab = await person.open();
  const { value, error } = await tab.try("predict", ["PETROL OSLO"], { top: 3 });
  const ms = await tab.page.evaluate(() => window.app.now());
  assert.equal(error, undefined, JSON.stringify(error));
  assert.equal(value[0].top.length, 3);
  t.diagnostic(`first prediction of the demo's model ${Math.round(ms)} ms after the navigation began`);
  assert.ok(ms <= 1500, `${ms} ms, at most 1500 are allowed`);

  const package_ = site.served.filter(({ path }) => path.startsWith("/package/"));
  const names = package_.map(({ path }) => path.slice("/package/".length)).sort();
  assert.deepEqual(names, ["index.js", "scale_fl.wasm", "worker.js"]);
  const size = (path) => {
    const bytes = readFileSync(join(buildFolder("package"), path));
    return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotliCompressSync(bytes).length };
  };
  for (const { path, bytes } of package_) {
    const { raw, gzip, brotli } = size(path.slice("/package/".length));
    assert.equal(bytes, raw);
    t.diagnostic(`${path.padEnd(24)} ${raw} bytes, gzip ${gzip}, brotli ${brotli}`);
  }
}
