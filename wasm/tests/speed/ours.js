// This project's side: the testing build of the wasm.

import start, { SpeedMasking, SpeedTraining } from "/wasm/scale_fl.js";

let training;
let masking;

const functions = {
  // Answers the initial weights.
  perceptron({ widths, inputs, labels, batch, rate }) {
    training = SpeedTraining.perceptron(Uint32Array.from(widths), inputs, labels, batch, rate);
    return training.weights();
  },
  textBag({ texts, labels, batch, rate }) {
    training = SpeedTraining.text_bag(texts, labels, batch, rate);
  },
  steps(count) {
    const started = performance.now();
    const loss = training.steps(count);
    return { milliseconds: performance.now() - started, loss };
  },
  masking({ entries, neighbors }) {
    masking = new SpeedMasking(entries, neighbors);
    return masking.backend();
  },
  mask(bits) {
    const started = performance.now();
    const check = masking.mask(bits);
    return { milliseconds: performance.now() - started, check };
  },
};

const started = start({ module_or_path: "/wasm/scale_fl_bg.wasm" });

onmessage = async ({ data: { name, values } }) => {
  try {
    await started;
    postMessage({ value: await functions[name](...values) });
  } catch (error) {
    postMessage({ error: String(error?.stack ?? error) });
  }
};
