// The app's own server: a page and the package, under the policy that the README tells banks to set, and nothing beside.

import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { buildFolder } from "./places.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const PAGE = fileURLToPath(new URL("page", import.meta.url));

// The header that the package's README tells apps to send, word for word.
const README = readFileSync(new URL("../../package/README.md", import.meta.url), "utf8");
const [POLICY] = /^default-src .*COORDINATOR$/m.exec(README);

// `coordinators`: the only other hosts that a page may speak to.
export function policy(...coordinators) {
  return POLICY.replace("COORDINATOR", coordinators.join(" "));
}

export class Site {
  // Files served so far: { path, bytes }.
  served = [];
  #server;
  #root;

  // `root`: the folder of the page; by default the tests' own one.
  constructor(root = PAGE) {
    this.#root = root;
  }

  async listen(...coordinators) {
    const header = policy(...coordinators);
    this.#server = createServer(async (request, answer) => {
      const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
      const [, first, ...rest] = path.split("/");
      const build = this.#root === PAGE && ["package", "testing"].includes(first);
      const file = build ? join(buildFolder(first), ...rest) : join(this.#root, path === "/" ? "index.html" : path);
      const type = TYPES[extname(file)] ?? "application/octet-stream";
      // No isolation of origins, no cache: every load is counted.
      const headers = { "content-security-policy": header, "content-type": type, "cache-control": "no-store" };
      try {
        const body = await readFile(file);
        this.served.push({ path, bytes: body.length });
        answer.writeHead(200, headers).end(body);
      } catch {
        answer.writeHead(404, headers).end();
      }
    });
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  async close() {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => (this.#server ? this.#server.close(resolve) : resolve()));
  }
}
