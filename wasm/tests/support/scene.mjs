// A whole scene: world, proxy, site and browser, and a person's app in it.
//
// Clients of the testing build have one more method, `testing(what, options)`: `move` takes part with a trainer whose
// update is known, `panic` makes the WebAssembly trap, `memory` measures it, and `conformance_…` runs a suite over the
// platform's storage.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startChromium, startProfile, watch } from "./chromium.mjs";
import { removeProfile } from "./folders.mjs";
import { Proxy } from "./proxy.mjs";
import { Site } from "./site.mjs";
import { World } from "./world.mjs";

export const TASK = "merchants";
export const LABELS = ["dining", "fuel", "groceries"];

// Examples of a person who eats out and drives.
export function examples(count) {
  return Array.from({ length: count }, (_, number) =>
    number % 2 === 0
      ? { id: `t-${number}`, text: `CAFE ROMA ${number}`, label: "dining" }
      : { id: `t-${number}`, text: `PETROL OSLO ${number}`, label: "fuel" });
}

export class Scene {
  // `task`: fields of the order `task`; false: none. `natives`: devices that play in step. `build`: "package" or "testing".
  static async set({ task = {}, natives = 0, build = "package", flags = [] } = {}) {
    const scene = new Scene();
    scene.build = build;
    try {
      scene.world = new World();
      scene.proxy = await new Proxy().listen();
      const { url, task_key: taskKey } = await scene.world.tell("start", { public_url: scene.proxy.url });
      scene.proxy.passTo(url);
      scene.taskKey = taskKey;
      // For programs that speak gRPC, which the proxy does not.
      scene.coordinator = url;
      scene.site = await new Site().listen(scene.proxy.url);
      if (task) scene.task = await scene.world.tell("task", { name: TASK, labels: LABELS, ...task });
      if (natives > 0) await scene.world.tell("natives", { task: TASK, count: natives });
      scene.browser = await startChromium(flags);
      return scene;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  // Options of the app; what a test changes comes last.
  options(changes = {}) {
    const requirements = { unmetered: false, power: "any" };
    return { coordinator: this.proxy.url, task: TASK, taskKey: this.taskKey, requirements, ...changes };
  }

  async token() {
    return (await this.world.tell("token")).token;
  }

  // Another person's browser: nothing is shared with the others.
  async person(changes = {}) {
    return new Person(this, await this.browser.newContext(), changes);
  }

  // A person whose browser stores on the disk.
  async personOnDisk(changes = {}) {
    const folder = mkdtempSync(join(tmpdir(), "scale-web-"));
    return new Person(this, await startProfile(folder), changes, folder);
  }

  // The published sum less everything that is known to be in it must be nothing: `moved` browsers have moved weight 0.
  async assertExactSum(number, { survivors, moved = 1 }) {
    const weights = Array.from({ length: moved }, () => this.task.max_weight);
    const told = await this.world.beyondNatives(TASK, number, weights);
    assert.equal(told.survivors, survivors);
    assert.deepEqual(told.beyond, [[0, moved * this.task.units]], "the published sum is that of all inputs");
  }

  // What the testing build's trainer does: its update is known beforehand.
  moves(changes = {}) {
    return { by: this.task.step, examples: this.task.max_weight, ...changes };
  }

  async close() {
    await this.browser?.close();
    await this.site?.close();
    await this.world?.close();
    await this.proxy?.close();
  }
}

// Someone with the app in a browser.
export class Person {
  constructor(scene, context, changes, folder = undefined) {
    Object.assign(this, { scene, context, changes, folder });
  }

  // The app in a new tab.
  async open({ client = true, keepWorkers = false, before, changes = {} } = {}) {
    const page = await this.context.newPage();
    const tab = new Tab(this, page, watch(page));
    if (before) await page.addInitScript(before);
    await page.goto(`${this.scene.site.url}/?build=${this.scene.build}`);
    await page.waitForFunction(() => window.app !== undefined);
    if (client) await tab.create({ keepWorkers, changes });
    return tab;
  }

  async close() {
    await this.context.close();
    if (this.folder) await removeProfile(this.folder);
  }
}

export class Tab {
  constructor(person, page, wrong) {
    Object.assign(this, { person, scene: person.scene, page, wrong });
  }

  // Creates the app's client, and says how that went.
  async tryCreate({ keepWorkers = false, changes = {}, name = "app" } = {}) {
    const options = this.scene.options({ ...this.person.changes, ...changes });
    return this.page.evaluate(([name, options, keep]) => window.app.create(name, options, keep), [name, options, keepWorkers]);
  }

  async create(options) {
    assert.deepEqual(await this.tryCreate(options), { value: true });
  }

  // One call: { value } or { error }.
  try(method, ...args) {
    return this.page.evaluate(([method, args]) => window.app.call("app", method, ...args), [method, args]);
  }

  async call(method, ...args) {
    const { value, error } = await this.try(method, ...args);
    assert.equal(error, undefined, `${method}: ${JSON.stringify(error)}; the console says: ${this.wrong.slice(-3).join("; ")}`);
    return value;
  }

  async enroll() {
    return this.call("enroll", await this.scene.token());
  }

  // Begins a call that can be aborted and tells its progress.
  begin(label, method, ...args) {
    return this.page.evaluate(([label, method, args]) => window.app.begin(label, "app", method, ...args), [label, method, args]);
  }

  // Begins to take part: with the examples, or with a known update.
  take(label, moves) {
    return moves ? this.begin(label, "testing", "move", moves) : this.begin(label, "participate", {});
  }

  end(label) {
    return this.page.evaluate((label) => window.app.end(label), label);
  }

  progress(label) {
    return this.page.evaluate((label) => window.app.progress(label), label);
  }

  abort(label) {
    return this.page.evaluate((label) => window.app.abort(label), label);
  }

  // Waits until a call is in a phase, and in training has made steps.
  async reached(label, phase) {
    const there = ([label, phase]) => {
      const { phases, steps, over, result } = window.app.progress(label);
      if (over && !phases.includes(phase)) throw new Error(`over before it: ${JSON.stringify(result)} after ${phases}`);
      return phases.includes(phase) && (phase !== "training" || steps > 0);
    };
    await this.page.waitForFunction(there, [label, phase], { timeout: 40_000, polling: 10 });
  }

  // Takes part until it has contributed, as an app does: again when it may. Resolves with the outcome.
  async contribute(moves, patience = 90_000) {
    const end = Date.now() + patience;
    const seen = [];
    for (let turn = 0; Date.now() < end; turn++) {
      const label = `contribute ${turn} ${Date.now()}`;
      await this.take(label, moves);
      const { value, error } = await this.end(label);
      assert.equal(error, undefined, JSON.stringify(error));
      if (value.kind === "contributed") return value;
      seen.push(`${value.kind} ${value.code ?? ""} ${value.sentence ?? ""}`);
      assert.notEqual(value.kind, "enrollment_needed", seen.join("; "));
      const at = value.kind === "paused" ? Date.now() + value.resumeAfterMs : value.until;
      await new Promise((resolve) => setTimeout(resolve, Math.min(Math.max(at - Date.now(), 20), end - Date.now())));
    }
    assert.fail(`it has not contributed within ${patience / 1000} s: ${seen.join("; ")}`);
  }

  // The same page again, as a person who presses "reload".
  async reload({ keepWorkers = false, changes = {} } = {}) {
    await this.page.reload();
    await this.page.waitForFunction(() => window.app !== undefined);
    await this.create({ keepWorkers, changes });
  }

  // Waits until the page has so many workers, as the debugger sees them: a moment later than the page.
  async workers(count) {
    const end = Date.now() + 10_000;
    while (this.page.workers().length !== count && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(this.page.workers().length, count, "workers of the page");
  }

  longTasks() {
    return this.page.evaluate(() => window.app.longTasks());
  }

  // Nothing that a person would see in the developer tools.
  async assertClean() {
    assert.deepEqual(await this.page.evaluate(() => window.app.violations()), []);
    assert.deepEqual(this.wrong, []);
  }

  close() {
    return this.page.close();
  }
}
