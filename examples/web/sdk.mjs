// Puts the npm package @scale-fl/web, as this repository builds it, into node_modules. An app of your own has it from
// npm instead. It is copied, not linked: a bundler then sees what an installed package looks like, and the lock file
// names no folder outside of this one.

import { cpSync, existsSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

const here = import.meta.dirname;
const from = resolve(process.env.SCALE_WEB_PACKAGE || join(here, "../../wasm/package"));
const to = join(here, "node_modules/@scale-fl/web");

if (!existsSync(join(from, "dist/index.js"))) {
  console.error(`${from} has no dist/index.js. Run \`cargo xtask web\` in the repository's root, which builds the package.`);
  process.exit(1);
}
rmSync(to, { recursive: true, force: true });
for (const part of ["package.json", "dist"]) cpSync(join(from, part), join(to, part), { recursive: true });
