// Browsers delete what pages store. What is lost is told apart, and nothing goes on as if it were there.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { examples, Scene, TASK } from "./support/scene.mjs";

let scene;

before(async () => {
  scene = await Scene.set({ build: "testing", natives: 11 });
});

after(() => scene?.close());

// A person who has taken part in one round, and whose browser then loses `stores`.
async function afterLossOf(...stores) {
  const person = await scene.person();
  const first = await person.open();
  const device = await first.enroll();
  await first.call("put", examples(10));
  await scene.world.tell("play", { task: TASK, rounds: 1 });
  await first.contribute(scene.moves());
  assert.equal((await first.call("privacyReport")).receipts.length, 1);
  await first.close();

  const tab = await person.open({ client: false });
  const cleared = await tab.page.evaluate(async (stores) => {
    const request = indexedDB.open("scale-fl");
    const database = await new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const transaction = database.transaction(stores, "readwrite");
    const counts = {};
    for (const name of stores) {
      const count = transaction.objectStore(name).count();
      count.onsuccess = () => {
        counts[name] = count.result;
        transaction.objectStore(name).clear();
      };
    }
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    database.close();
    return counts;
  }, stores);
  for (const store of stores) assert.ok(cleared[store] > 0, `there was nothing in ${store}`);
  await tab.create();
  return { person, tab, device };
}

// Nothing is sent before the person has decided.
async function assertNothingSent(tab, calls) {
  const sent = scene.proxy.calls.slice(calls).filter(({ path }) => !path.includes("/Enroll"));
  assert.deepEqual(sent.map(({ path }) => path), []);
}

test("lost keys: nothing that was stored can be read, and nothing is sent until the person resets the ledger", { timeout: 60_000 }, async () => {
  const { person, tab, device } = await afterLossOf("vault");
  const calls = scene.proxy.calls.length;
  const { enrolled, examples: { total, damaged } } = await tab.call("status");
  assert.deepEqual([enrolled, total, damaged > 0], [false, 0, true]);
  const outcome = await tab.call("participate");
  assert.deepEqual([outcome.kind, outcome.code], ["enrollment_needed", "not_enrolled"]);
  // A new identity cannot read the old bill, and does not pass for a new device.
  assert.notEqual(await tab.enroll(), device);
  for (const method of ["participate", "privacyReport"]) {
    const { error } = await tab.try(method);
    assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "privacy_ledger", "ledger_damaged"], method);
    assert.match(error.message, /damaged/);
    assert.match(error.message, /reset/);
  }
  await assertNothingSent(tab, calls);
  assert.equal(await tab.call("resetPrivacyLedger"), true);
  assert.equal((await tab.call("privacyReport")).pastKnown, false);
  await tab.call("forget", "examples");
  assert.equal((await tab.call("status")).examples.damaged, 0);
  await person.close();
});

test("a lost store: the installation has to enroll again, and is the same device with its old bill", { timeout: 60_000 }, async () => {
  const { person, tab, device } = await afterLossOf("store");
  const calls = scene.proxy.calls.length;
  const outcome = await tab.call("participate");
  assert.deepEqual([outcome.kind, outcome.code], ["enrollment_needed", "not_enrolled"]);
  assert.match(outcome.sentence, /enroll/);
  assert.equal((await tab.call("status")).examples.total, 0);
  await assertNothingSent(tab, calls);
  assert.equal((await tab.call("privacyReport")).receipts.length, 1, "what was spent is still known");
  assert.equal(await tab.enroll(), device);
  await person.close();
});

test("a lost ledger: nothing is sent until the person resets it, and the report says so from then on", { timeout: 60_000 }, async () => {
  const { person, tab } = await afterLossOf("ledger");
  const calls = scene.proxy.calls.length;
  for (const [method, ...args] of [["participate"], ["privacyReport"]]) {
    const { error } = await tab.try(method, ...args);
    assert.deepEqual([error?.name, error?.kind, error?.code], ["ScaleError", "privacy_ledger", "ledger_missing"], method);
    assert.match(error.message, /missing/);
    assert.match(error.message, /reset/);
  }
  await assertNothingSent(tab, calls);
  assert.equal(await tab.call("resetPrivacyLedger"), true);
  const report = await tab.call("privacyReport");
  assert.equal(report.pastKnown, false);
  assert.match(report.summary, /reset/);
  assert.equal(await tab.call("resetPrivacyLedger"), false, "an intact ledger cannot be refilled");
  await person.close();
});

test("a lost everything: a new device, whose report begins anew", { timeout: 60_000 }, async () => {
  const { person, tab, device } = await afterLossOf("vault", "store", "ledger");
  assert.equal((await tab.call("status")).enrolled, false);
  assert.notEqual(await tab.enroll(), device);
  const report = await tab.call("privacyReport");
  assert.equal(report.receipts.length, 0);
  assert.match(report.summary, /no round/);
  await person.close();
});

test("a deleted database is a new device as well", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const first = await person.open();
  const device = await first.enroll();
  await first.close();
  const tab = await person.open({ client: false });
  await tab.page.evaluate(() => new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase("scale-fl");
    request.onsuccess = resolve;
    request.onerror = request.onblocked = () => reject(new Error("it is not deleted"));
  }));
  await tab.create();
  assert.notEqual(await tab.enroll(), device);
  await person.close();
});

test("a full disk fails the call that needs it, and damages nothing", { timeout: 60_000 }, async () => {
  // Chromium keeps no quota for what it has in memory, and looks at the quota before it opens a database.
  const person = await scene.personOnDisk();
  const tab = await person.open({ client: false });
  const session = await person.context.newCDPSession(tab.page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: scene.site.url, quotaSize: 500_000 });
  await tab.create();
  await tab.call("put", examples(10));
  const many = Array.from({ length: 2_000 }, (_, i) => ({ id: `more ${i}`, text: `SHOP ${i} `.padEnd(500, "X"), label: "fuel" }));
  const { error } = await tab.try("put", many);
  assert.deepEqual([error?.name, error?.kind], ["ScaleError", "storage"], JSON.stringify(error));
  assert.match(error.message, /space/);
  // Examples are stored shard by shard: those that were stored before the disk was full are there, and whole.
  const { total, damaged, byLabel } = (await tab.call("status")).examples;
  assert.deepEqual([damaged, byLabel.dining], [0, 5]);
  assert.ok(total >= 10 && total < 2_010, `${total} examples`);
  // What the sentence says can be done.
  await tab.call("forget", "examples");
  assert.equal((await tab.call("status")).examples.total, 0);
  // Chromium counts again when the database is opened the next time; the quota ends with the debugger's session.
  await tab.close();
  const again = await person.open();
  assert.equal((await again.call("put", many)).added, 2_000);
  await person.close();
});

test("two names are two installations on one page", { timeout: 60_000 }, async () => {
  const person = await scene.person();
  const tab = await person.open();
  const device = await tab.enroll();
  await tab.create({ name: "other", changes: { name: "another" } });
  const token = await scene.token();
  const other = await tab.page.evaluate((token) => window.app.call("other", "enroll", token), token);
  assert.notEqual(other.value, device);
  await person.close();
});
