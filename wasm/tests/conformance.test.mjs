// The worker's storage on IndexedDB and WebCrypto keeps the promises that the device relies on: the suites are those of the
// crate itself (client-core/src/host/conformance.rs).

import { after, before, test } from "node:test";

import { Scene } from "./support/scene.mjs";

let scene;

before(async () => {
  scene = await Scene.set({ build: "testing", task: false });
});

after(() => scene?.close());

for (const what of ["store", "ledger", "vault", "keys"]) {
  test(`the ${what} of the browser conforms`, { timeout: 120_000 }, async () => {
    const person = await scene.person({ name: `conformance-${what}` });
    const tab = await person.open();
    await tab.call("testing", `conformance_${what}`, {});
    await tab.assertClean();
    await person.close();
  });
}
