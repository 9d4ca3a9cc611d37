// A page with the module of the testing build and nothing of the package, on a small server of its own.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

import { startChromium, watch } from "./support/chromium.mjs";
import { buildFolder } from "./support/places.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

// Serves folders, each under a path that ends with a slash, on the loopback interface.
async function serve(folders) {
  const server = createServer(async ({ url }, answer) => {
    const path = normalize(decodeURIComponent(new URL(url, "http://localhost").pathname));
    const under = Object.keys(folders).filter((prefix) => path.startsWith(prefix));
    const longest = under.sort((a, b) => b.length - a.length)[0];
    try {
      const body = await readFile(join(folders[longest], path.slice(longest.length)));
      answer.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(body);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

// Opens `page.html` of the folder and waits until it has set `window.ready`. The module lies under `/wasm/`, more folders
// under their own paths. `close` ends everything.
export async function openModule(folder, more = {}) {
  const server = await serve({ "/": folder, "/wasm/": buildFolder("testing"), ...more });
  let browser;
  const close = async () => {
    await browser?.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  try {
    browser = await startChromium();
    const page = await browser.newPage();
    const wrong = watch(page);
    await page.goto(`http://localhost:${server.address().port}/page.html`);
    await page.waitForFunction(() => window.ready, undefined, { timeout: 30_000 }).catch(() => {
      assert.fail(`the page does not start: ${wrong.join("; ")}`);
    });
    return { page, version: browser.version(), close };
  } catch (error) {
    await close();
    throw error;
  }
}
