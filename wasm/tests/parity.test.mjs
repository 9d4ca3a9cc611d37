// The trainings of src/testing/training.rs in Chromium, compared with what `cargo test -p scale-wasm --test parity` left
// natively in the file SCALE_WASM_PARITY_REFERENCE.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { openModule } from "./module.mjs";

// How far a weight, or a mean loss in nats, may be from the native one. Instruction sets round differently: native
// kernels fuse products and sums, simd128 has no such instruction.
const TOLERANCE = 1e-4;

let browser;

before(async () => {
  browser = await openModule(fileURLToPath(new URL("./parity/", import.meta.url)));
});

after(() => browser?.close());

test("training comes to the same weights as natively", { timeout: 120_000 }, async (t) => {
  const path = process.env.SCALE_WASM_PARITY_REFERENCE;
  assert.ok(path, "SCALE_WASM_PARITY_REFERENCE is not set: `cargo xtask web --test` makes that file");
  const reference = JSON.parse(readFileSync(path, "utf8"));
  const runs = await browser.page.evaluate(() => window.runs());
  assert.ok(Object.keys(reference).length >= 3, `trainings: ${Object.keys(reference)}`);
  assert.deepEqual(Object.keys(runs), Object.keys(reference));
  const wrong = [];
  for (const [name, native] of Object.entries(reference)) {
    const off = {};
    for (const what of ["losses", "weights"]) {
      assert.equal(runs[name][what].length, native[what].length, `${name}: number of ${what}`);
      off[what] = furthest(runs[name][what], native[what]);
    }
    t.diagnostic(`${name}: ${native.weights.length} weights within ${off.weights.toExponential(1)}, losses within ${off.losses.toExponential(1)}`);
    // Not `>`: what is not a number is wrong too.
    if (!(off.weights <= TOLERANCE && off.losses <= TOLERANCE)) wrong.push(name);
  }
  assert.deepEqual(wrong, [], `further than ${TOLERANCE} from the native results`);
});

function furthest(left, right) {
  // Math.max of anything with NaN is NaN, and null, which JSON has in its place, is not a number either.
  return left.reduce((most, value, index) => Math.max(most, Math.abs((value ?? Number.NaN) - (right[index] ?? Number.NaN))), 0);
}
