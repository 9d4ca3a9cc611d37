// What a round of the demo's model costs the browser in memory, and that rounds one after another leak nothing.
//
// Pages without isolation of origins cannot measure themselves, so this looks from outside. What counts is how far the
// resident memory of the page's process has grown since before the first call, as the system counts it: that is the worker
// with everything in it, and compiled code. In addition, for the figures: the WebAssembly memory as the testing build
// reports it, which never shrinks, and V8's heap of the worker as the debugger sees it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { BareChromium } from "./support/bare.mjs";
import { examples, LABELS, Scene, TASK } from "./support/scene.mjs";

const MIB = 1 << 20;
const AFTER_ONE_ROUND = 150 * MIB;
const AFTER_MANY_ROUNDS = 1.1 * AFTER_ONE_ROUND;
const ROUNDS = process.env.SCALE_LONG ? 50 : 4;
// The text bag of the demo: 65,536 rows of 18, for 18 categories.
const DEMO = { buckets: 65_536, dim: 18, labels: [...LABELS, ...Array.from({ length: 15 }, (_, i) => `category ${i}`)] };

// WebAssembly's memory never shrinks, and its allocator needs room for some more models where blocks of that size no longer
// fit into the gaps. What grows with every round is a leak.
const GAPS = 4 * 4 * (DEMO.buckets * DEMO.dim) + 2 * MIB;

let scene;
let chromium;

before(async () => {
  scene = await Scene.set({ build: "testing", natives: 11, task: { ...DEMO, stage_ms: 120_000 } });
  chromium = new BareChromium();
});

after(async () => {
  // Whatever becomes of the one, the other ends: this process waits for it.
  try {
    await chromium?.close();
  } finally {
    await scene?.close();
  }
});

async function call(method, ...args) {
  const { value, error } = await chromium.app("call", "app", method, ...args);
  assert.equal(error, undefined, `${method}: ${JSON.stringify(error)}`);
  return value;
}

async function contribute() {
  for (let patience = 50; ; patience--) {
    const outcome = await call("participate");
    if (outcome.kind === "contributed") return outcome;
    assert.ok(outcome.kind === "waited" && patience > 0, JSON.stringify(outcome));
    await new Promise((resolve) => setTimeout(resolve, Math.max(outcome.until - Date.now(), 20)));
  }
}

test(`one round of the demo's model takes at most 150 MiB, and ${ROUNDS} of them leak nothing`, { timeout: 1_800_000 }, async (t) => {
  await chromium.open(`${scene.site.url}/?build=testing`);
  const before = await chromium.resident();
  // It must not end meanwhile: what would be measured then is a new worker.
  const created = await chromium.app("create", "app", scene.options({ timeouts: { idleMs: 600_000 } }), true);
  assert.deepEqual(created, { value: true });
  await call("enroll", await scene.token());
  await call("put", examples(1_000));
  await scene.world.tell("play", { task: TASK, rounds: ROUNDS });
  const after = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const { number } = await contribute();
    assert.equal((await scene.world.closed(TASK, number)).phase, "finished");
    const heap = await chromium.workerHeap();
    const { wasm } = await call("testing", "memory", {});
    const memory = { worker: (await chromium.resident()) - before, wasm, heap };
    after.push(memory);
    const figures = Object.entries(memory).map(([name, bytes]) => `${name} ${(bytes / MIB).toFixed(1)} MiB`);
    if (round <= 4 || round % 10 === 0) t.diagnostic(`after round ${round}: ${figures.join(", ")}`);
  }
  const [first, last] = [after[0].worker, after.at(-1).worker];
  assert.ok(first <= AFTER_ONE_ROUND, `${(first / MIB).toFixed(1)} MiB after one round`);
  assert.ok(last <= AFTER_MANY_ROUNDS, `${(last / MIB).toFixed(1)} MiB after ${ROUNDS} rounds`);
  assert.ok(last <= first + GAPS, `from ${(first / MIB).toFixed(1)} to ${(last / MIB).toFixed(1)} MiB`);
  assert.equal(await chromium.app("workers"), 1, "it was one worker all the time");
});
