// The native side: a coordinator and other devices, in a process that takes orders (tests/src/world).

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { worldPath } from "./places.mjs";

export class World {
  #process = spawn(worldPath(), { stdio: ["pipe", "pipe", "pipe"] });
  #open = new Map();
  #last = 0;
  #said = "";

  constructor() {
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      const { id, told, error } = JSON.parse(line);
      const { resolve, reject, what } = this.#open.get(id);
      this.#open.delete(id);
      if (error === undefined) resolve(told);
      else reject(new Error(`the world could not ${what}: ${error}`));
    });
    this.#process.stderr.on("data", (text) => (this.#said = `${this.#said}${text}`.slice(-4000)));
    this.#process.on("close", (code) => {
      for (const { reject, what } of this.#open.values()) reject(new Error(`the world ended (${code}) at ${what}: ${this.#said}`));
      this.#open.clear();
    });
  }

  // Gives one order; resolves with what it answers.
  tell(what, fields = {}) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, what });
      this.#process.stdin.write(`${JSON.stringify({ id, do: what, ...fields })}\n`);
    });
  }

  // Waits until the round with this number is over.
  async closed(task, number, patience = 60_000) {
    const end = Date.now() + patience;
    for (;;) {
      const { rounds, troubles } = await this.tell("rounds", { task });
      const round = rounds.find((round) => round.number === number);
      if (["finished", "abandoned"].includes(round?.phase)) return round;
      if (Date.now() > end) throw new Error(`round ${number} stays open: ${JSON.stringify({ rounds, troubles })}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  // What a round has published, once it is over, beyond the native devices' inputs, as [index, integer].
  // `apps`: how many examples each app says.
  beyondNatives(task, number, apps) {
    return this.tell("sum", { task, number, apps });
  }

  async close() {
    if (this.#process.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.stdin.end();
    await closed;
  }
}
