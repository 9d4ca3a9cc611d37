// Chromium without playwright. That one has every page and worker watched by the debugger's network agent, which keeps the
// bodies of all answers in the page's process: there, memory cannot be measured.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { FLAGS } from "./chromium.mjs";
import { removeProfile } from "./folders.mjs";
import { chromiumPath } from "./places.mjs";

export class BareChromium {
  #profile = mkdtempSync(join(tmpdir(), "scale-web-"));
  #process;
  #open = new Map();
  #last = 0;
  #session;
  #workers = [];
  #rest = "";

  constructor() {
    const args = [...FLAGS, `--user-data-dir=${this.#profile}`, "--remote-debugging-pipe", "about:blank"];
    // The pipe of the debugger's protocol: 3 goes in, 4 comes out.
    this.#process = spawn(chromiumPath(), args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.#process.stdio[4].on("data", (text) => this.#heard(String(text)));
  }

  // Opens a page, and waits until `window.app` is there.
  async open(url) {
    const { targetId } = await this.#send("Target.createTarget", { url });
    this.#session = (await this.#send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    await this.#send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: true }, this.#session);
    while (!(await this.evaluate("window.app !== undefined"))) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  // The value of an expression on the page, also of a promise.
  async evaluate(expression) {
    const wanted = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", wanted, this.#session);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  // Calls a function of `window.app`.
  app(name, ...args) {
    return this.evaluate(`window.app[${JSON.stringify(name)}](...${JSON.stringify(args)})`);
  }

  // V8's heap of the only worker in bytes, after its garbage is gone. Its WebAssembly memory is not in it.
  async workerHeap() {
    const session = this.#workers.at(-1);
    await this.#send("HeapProfiler.collectGarbage", {}, session);
    const usage = await this.#send("Runtime.getHeapUsage", {}, session);
    return usage.usedSize + usage.embedderHeapUsedSize + usage.backingStorageSize;
  }

  // Resident memory of the page's process in bytes, as the system counts it.
  async resident() {
    const { processInfo } = await this.#send("SystemInfo.getProcessInfo");
    const of = ({ id }) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))[1]) * 1024;
    return Math.max(...processInfo.filter(({ type }) => type === "renderer").map(of));
  }

  async close() {
    const closed = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.kill("SIGKILL");
    await closed;
    await removeProfile(this.#profile);
  }

  #send(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, method });
      this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  #heard(text) {
    const messages = `${this.#rest}${text}`.split("\0");
    this.#rest = messages.pop();
    for (const message of messages) {
      const { id, result, error, method, params } = JSON.parse(message);
      if (method === "Target.attachedToTarget" && params.targetInfo.type === "worker") this.#workers.push(params.sessionId);
      const call = this.#open.get(id);
      this.#open.delete(id);
      if (error) call?.reject(new Error(`${call.method}: ${error.message}`));
      else call?.resolve(result);
    }
  }
}
