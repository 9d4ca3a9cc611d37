// One session of every make: a Swift app, a Kotlin app, a browser and native devices. The published sum is that of all inputs,
// so all of them speak the same protocol to the bit.
//
// `cargo xtask bindings --test --only mixed` runs it; what it needs are the variables of wasm/tests and two commands, as JSON.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Scene, TASK } from "../../wasm/tests/support/scene.mjs";

// Examples that a phone's testing trainer says it has seen; the browser's says as many as a device may.
const EXAMPLES = 10;

// Programs for tests of the two languages. Each enrolls, takes part until it has contributed, and says so in its last line.
const PHONES = [
  {
    variable: "SCALE_SWIFT_DEVICE",
    words: (orders) => [JSON.stringify({ ...orders, steps: 1, stepMs: 0, untilDone: true })],
    contribution: (line) => (line.outcome === "contributed" ? line : undefined),
  },
  {
    variable: "SCALE_KOTLIN_DEVICE",
    words: ({ url, taskKey, folder, step, token }) => [url, taskKey, folder, `${step}`, `token=${token}`],
    contribution: (line) => (line.outcome?.kind === "contributed" ? line.outcome : undefined),
  },
];

// A device in a process of its own. Resolves with what it has contributed to.
function contribute({ variable, words, contribution }, orders) {
  const command = process.env[variable];
  assert.ok(command, `${variable} is not set: run cargo xtask bindings --test --only mixed`);
  const [program, ...first] = JSON.parse(command);
  const device = spawn(program, [...first, ...words(orders)], { stdio: ["ignore", "pipe", "pipe"] });
  return new Promise((resolve, reject) => {
    let said = "";
    let wrong = "";
    device.stdout.on("data", (text) => (said += text));
    device.stderr.on("data", (text) => (wrong += text));
    device.on("error", reject);
    device.on("close", (code) => {
      const last = said.trim().split("\n").at(-1);
      const done = last.startsWith("{") ? contribution(JSON.parse(last)) : undefined;
      if (done) resolve(done);
      else reject(new Error(`${variable} ended (${code}) with ${last}; ${wrong.slice(-1000)}`));
    });
  });
}

test("Swift, Kotlin, a browser and nine native devices publish the exact sum", { timeout: 180_000 }, async () => {
  const scene = await Scene.set({ build: "testing", natives: 9 });
  const folder = mkdtempSync(join(tmpdir(), "scale-mixed-"));
  try {
    const tab = await (await scene.person()).open();
    await tab.enroll();
    await scene.world.tell("play", { task: TASK, rounds: 1 });
    const phones = PHONES.map(async (phone) => {
      const { coordinator: url, taskKey, task } = scene;
      const orders = { url, taskKey, token: await scene.token(), folder: join(folder, phone.variable), step: task.step };
      return contribute(phone, orders);
    });
    const [browser, ...others] = await Promise.all([tab.contribute(scene.moves()), ...phones]);
    for (const other of others) assert.equal(other.number, browser.number, "all are in one session");
    const { max_weight: most, units } = scene.task;
    const told = await scene.world.beyondNatives(TASK, browser.number, [most, EXAMPLES, EXAMPLES]);
    assert.equal(told.survivors, 12);
    assert.deepEqual(told.beyond, [[0, units + (2 * units * EXAMPLES) / most]], "the published sum is that of all inputs");
  } finally {
    await scene.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
