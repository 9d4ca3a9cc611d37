// The package as people install it, from its tarball, in a new app: each loads it and predicts, built and in development.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { watch } from "./support/chromium.mjs";
import { packageFolder } from "./support/places.mjs";
import { LABELS, Scene } from "./support/scene.mjs";
import { Site } from "./support/site.mjs";

let scene;
let work;
let tarball;

before(async () => {
  work = mkdtempSync(join(tmpdir(), "scale-loads-"));
  tarball = process.env.SCALE_WEB_TARBALL ?? packed();
  scene = await Scene.set();
}, { timeout: 120_000 });

after(async () => {
  await scene?.close();
  if (work) rmSync(work, { recursive: true, force: true });
});

function packed() {
  execFileSync("npm", ["pack", "--pack-destination", work], { cwd: packageFolder(), stdio: "pipe" });
  return join(work, readdirSync(work).find((name) => name.endsWith(".tgz")));
}

// A new app with the package installed, in the versions of its lock file.
function app(name) {
  const folder = join(work, name);
  cpSync(fileURLToPath(new URL(`loads/${name}`, import.meta.url)), folder, { recursive: true });
  const quiet = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel", "error"];
  execFileSync("npm", ["install", ...quiet, tarball], { cwd: folder, stdio: "pipe" });
  return folder;
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const environment = () => ({ ...process.env, NEXT_TELEMETRY_DISABLED: "1", CI: "1" });

function run(folder, program, ...args) {
  execFileSync(process.execPath, [join("node_modules", program), ...args], { cwd: folder, stdio: "pipe", env: environment() });
}

// Uses a server of the app's own tools; `args` makes its arguments of a port.
async function serving(folder, program, args, use) {
  const port = await freePort();
  // A group of its own, which ends as a whole: these servers have children.
  const server = spawn(process.execPath, [join("node_modules", program), ...args(port)], {
    cwd: folder, env: environment(), detached: true, stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (said += text));
  const closed = new Promise((resolve) => server.once("close", resolve));
  try {
    const url = `http://127.0.0.1:${port}/`;
    for (let patience = 300; ; patience--) {
      if (await fetch(url).then((answer) => answer.ok, () => false)) break;
      assert.ok(patience > 0 && server.exitCode === null, `it does not serve: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await use(url);
  } catch (error) {
    throw new Error(`${error.message}; its server said: ${said.slice(-3000)}`, { cause: error });
  } finally {
    try {
      process.kill(-server.pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await closed;
  }
}

// Somebody who opens the app and lets it predict.
async function predicts(url, { patience = 60_000, look } = {}) {
  const context = await scene.browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    const wrong = watch(page);
    await page.goto(url);
    // A server in development loads the page once more when it has found new dependencies.
    await page.waitForFunction(() => window.predict !== undefined);
    const label = await page.evaluate(([options, token]) => window.predict(options, token, "CAFE ROMA"), [scene.options(), await scene.token()]);
    assert.ok(LABELS.includes(label), label);
    await page.waitForFunction((label) => document.getElementById("said").textContent === label, label);
    await look?.(page);
    assert.deepEqual(wrong, []);
  } finally {
    await context.close();
  }
}

// A folder under the policy of the README.
async function served(folder, use) {
  const site = await new Site(folder).listen(scene.proxy.url);
  try {
    await use(`${site.url}/`);
  } finally {
    await site.close();
  }
}

test("a page without a bundler", { timeout: 60_000 }, async () => {
  const folder = app("plain");
  await served(folder, predicts);
});

test("an app of Vite: built, under the strict policy and as it previews it, and in development", { timeout: 180_000 }, async () => {
  const folder = app("vite");
  run(folder, "vite/bin/vite.js", "build", "--logLevel", "error");
  await served(join(folder, "dist"), predicts);
  const at = (port) => ["--host", "127.0.0.1", "--port", String(port), "--strictPort"];
  await serving(folder, "vite/bin/vite.js", (port) => ["preview", ...at(port)], predicts);
  await serving(folder, "vite/bin/vite.js", (port) => ["dev", ...at(port)], predicts);
});

test("an app of Next.js: built, and in development; imported on the server as well", { timeout: 300_000 }, async () => {
  const folder = app("next");
  const onServer = async (page) => assert.equal(await page.locator("#server").innerText(), "function true");
  const opened = (url) => predicts(url, { look: onServer });
  run(folder, "next/dist/bin/next", "build");
  const at = (port) => ["--hostname", "127.0.0.1", "--port", String(port)];
  await serving(folder, "next/dist/bin/next", (port) => ["start", ...at(port)], opened);
  await serving(folder, "next/dist/bin/next", (port) => ["dev", ...at(port)], opened);
});
