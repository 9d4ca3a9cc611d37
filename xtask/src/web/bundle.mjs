// Bundles the package's scripts with esbuild: the page's part and the worker's. Arguments: the folder with esbuild in
// node_modules, the package's folder, the JavaScript of wasm-bindgen, where the results go, and "true" for the build
// that the package's own tests use.

import { createRequire } from "node:module";
import { join } from "node:path";

const [tools, source, glue, out, testing] = process.argv.slice(1);
const { build } = createRequire(`${tools}/`)("esbuild");

await build({
  absWorkingDir: source,
  entryPoints: { index: join(source, "src/index.ts"), worker: join(source, "src/worker/main.ts") },
  outdir: out,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  legalComments: "none",
  define: { __TESTING__: testing },
  logLevel: "warning",
  // The worker is built with the module of the published package or with the one for tests.
  plugins: [{
    name: "glue",
    setup({ onResolve }) {
      onResolve({ filter: /(^|\/)scale_fl\.js$/ }, () => ({ path: glue }));
    },
  }],
});
