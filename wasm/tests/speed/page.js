// Runs the measurement: one worker for each side, never both at once, in turns.

import { lines, pictures } from "./data.js";

// Calls functions of a worker by name, one at a time.
class Side {
  constructor(url, options) {
    this.worker = new Worker(url, options);
  }

  call(name, ...values) {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.value));
      this.worker.onerror = (event) => reject(new Error(`${event.filename}:${event.lineno}: ${event.message}`));
      this.worker.postMessage({ name, values });
    });
  }
}

// The same training on both sides, from the same weights on the same batches. First `steps` steps, which are not counted:
// they end with the losses that are compared, and with code that the browser has optimized. Then, in turns and `rounds`
// times, about equally long pieces of more steps.
window.perceptron = async ({ widths, batch, batches, rate, steps, rounds, piece }) => {
  const { inputs, labels } = pictures(batch * batches, widths[0], widths.at(-1));
  const task = { widths, batch, rate, inputs, labels };
  const ours = new Side("ours.js", { type: "module" });
  const weights = await ours.call("perceptron", task);
  const theirs = new Side("tensorflow.js");
  const versions = await theirs.call("start");
  await theirs.call("perceptron", { ...task, weights });
  const sides = {
    ours: (count) => ours.call("steps", count),
    minimize: (count) => theirs.call("minimize", count),
    trainOnBatch: (count) => theirs.call("trainOnBatch", count),
  };
  const losses = {};
  for (const [name, run] of Object.entries(sides)) {
    losses[name] = { first: (await run(1)).loss, last: (await run(steps - 1)).loss };
  }
  const took = [];
  for (let round = 0; round < rounds; round++) {
    const own = {};
    for (const [name, run] of Object.entries(sides)) {
      own[name] = (await run(piece[name])).milliseconds / piece[name];
    }
    took.push(own);
  }
  ours.worker.terminate();
  theirs.worker.terminate();
  return { versions, losses, took };
};

// The demo's model; TensorFlow.js has no counterpart of it.
window.textBag = async ({ batch, batches, rate, steps, rounds, piece }) => {
  const ours = new Side("ours.js", { type: "module" });
  await ours.call("textBag", { ...lines(batch * batches), batch, rate });
  const losses = { first: (await ours.call("steps", 1)).loss, last: (await ours.call("steps", steps - 1)).loss };
  const took = [];
  for (let round = 0; round < rounds; round++) {
    took.push((await ours.call("steps", piece)).milliseconds / piece);
  }
  ours.worker.terminate();
  return { losses, took };
};

window.masking = async ({ entries, neighbors, bits, rounds }) => {
  const ours = new Side("ours.js", { type: "module" });
  const answer = { backend: await ours.call("masking", { entries, neighbors }), rounds: [] };
  for (let round = 0; round < rounds; round++) answer.rounds.push(await ours.call("mask", bits));
  ours.worker.terminate();
  return answer;
};

window.ready = true;
