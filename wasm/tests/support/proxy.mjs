// What stands between the browser and the coordinator: it counts, holds calls back, falls silent and goes away.
//
// Native devices pass it too, for models. They send no `origin`, and nothing here concerns them: only the browser's
// calls are counted, held back and cut off.

import { Agent, createServer, request as send } from "node:http";

// Parts of the paths by which a device goes through its phases.
export const CALLS = {
  enroll: "/Enroll",
  checking_in: "/CheckIn",
  downloading: ".safetensors",
  keys: "/AdvertiseKeys",
  shares: "/ShareKeys",
  uploading: "/UploadMasked",
  agreeing: "/ConfirmSurvivors",
  unmasking: "/RevealShares",
  model: "/GetManifest",
};

export class Proxy {
  // Calls of the browser so far: { path, up, down } with the bytes of the bodies.
  calls = [];
  #agent = new Agent({ keepAlive: true });
  #server = createServer((request, answer) => this.#pass(request, answer));
  #sockets = new Set();
  #rules = new Set();
  #away = false;
  #target;

  constructor() {
    this.#server.on("connection", (socket) => socket.on("close", () => this.#sockets.delete(socket)));
  }

  async listen() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  passTo(url) {
    this.#target = new URL(url);
  }

  // Whether the browser's connections are broken, those that there were and every new one.
  set away(away) {
    this.#away = away;
    if (away) for (const socket of this.#sockets) socket.destroy();
  }

  // Holds the browser's calls with `part` in their path back until `release`. `reached` resolves when there is one.
  hold(part) {
    const rule = { part, kind: "hold" };
    rule.reached = new Promise((resolve) => (rule.reach = resolve));
    rule.free = new Promise((resolve) => (rule.free_ = resolve));
    this.#rules.add(rule);
    const release = () => {
      this.#rules.delete(rule);
      rule.free_();
    };
    return { reached: rule.reached, release };
  }

  // Takes the browser's calls with `part` in their path and never answers, or after so many bytes of the answer no more.
  silence(part, after = undefined) {
    const rule = { part, kind: "silence", after };
    rule.reached = new Promise((resolve) => (rule.reach = resolve));
    this.#rules.add(rule);
    return { reached: rule.reached, release: () => this.#rules.delete(rule) };
  }

  async close() {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(request, answer) {
    const fromPage = request.headers.origin !== undefined;
    if (fromPage && this.#away) return request.socket.destroy();
    if (fromPage) this.#sockets.add(request.socket);
    const browser = fromPage && request.method !== "OPTIONS";
    const rule = browser && [...this.#rules].find((rule) => request.url.includes(rule.part));
    rule?.reach?.();
    if (rule?.kind === "hold") await rule.free;
    if (rule?.kind === "silence" && rule.after === undefined) return;
    if (answer.destroyed) return;

    const call = { path: request.url.split("?")[0], up: 0, down: 0 };
    if (browser) this.calls.push(call);
    const { hostname, port } = this.#target;
    const { method, url: path, headers } = request;
    const onward = send({ hostname, port, method, path, headers, agent: this.#agent }, (incoming) => {
      answer.writeHead(incoming.statusCode, incoming.headers);
      answer.flushHeaders();
      incoming.on("data", (bytes) => {
        const left = (rule?.after ?? Infinity) - call.down;
        call.down += bytes.length;
        if (left > 0) answer.write(bytes.subarray(0, left));
      });
      incoming.on("end", () => rule?.after === undefined && answer.end());
      incoming.on("error", () => answer.destroy());
    });
    onward.on("error", () => answer.destroy());
    answer.on("close", () => answer.writableFinished || onward.destroy());
    request.on("data", (bytes) => (call.up += bytes.length));
    request.pipe(onward);
  }
}

