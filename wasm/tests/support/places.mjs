// Where things lie. `cargo xtask web --test` says so in variables; by hand they are looked for in the tree.

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

function place(variable, candidates, how) {
  const found = process.env[variable] ?? candidates.find((path) => existsSync(path));
  assert.ok(found, `${variable} is not set, and there is nothing at ${candidates.join(" or ")}: ${how}`);
  return found;
}

// Folders of the tools with packages of npm.
function packages() {
  const tools = join(ROOT, ".tools");
  const folders = existsSync(tools) ? readdirSync(tools).map((name) => join(tools, name)) : [];
  return folders.filter((folder) => existsSync(join(folder, "node_modules", "playwright-core")));
}

const built = "`cargo xtask web` builds it";

export const chromiumPath = () => place("SCALE_PAGE_CHROMIUM", ["/usr/bin/chromium"], "install Chromium");
export const packageFolder = () => place("SCALE_WEB_PACKAGE", [join(ROOT, "wasm", "package")], built);
export const worldPath = () =>
  place("SCALE_WORLD", [join(ROOT, "target", "debug", "world-under-test")], "`cargo build -p scale-tests` builds it");

// The folder with one build of the package: what is published, or the one with the exports for tests.
export function buildFolder(build) {
  if (build === "package") return join(packageFolder(), "dist");
  assert.equal(build, "testing");
  return place("SCALE_WASM_TESTING", [join(ROOT, "target-wasm", "package-testing")], "`cargo xtask web --testing` builds it");
}

export function playwright() {
  const folder = place("SCALE_PAGE_PACKAGES", packages(), "`cargo xtask page` installs playwright-core");
  return createRequire(`${folder}/`)("playwright-core");
}
