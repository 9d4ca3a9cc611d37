// TensorFlow.js's side, on its back end of WebAssembly: the same model, weights, batches and steps. A classic worker,
// because its packages are scripts.

importScripts("/packages/@tensorflow/tfjs/dist/tf.min.js");
importScripts("/packages/@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js");

let batches;
// Two trainings, one for each way to write one; they share the batches.
let variables;
let optimizer;
let model;
const next = { minimize: 0, trainOnBatch: 0 };

const functions = {
  async start() {
    tf.wasm.setWasmPaths("/packages/@tensorflow/tfjs-backend-wasm/dist/");
    if (!(await tf.setBackend("wasm"))) throw new Error("there is no back end of WebAssembly");
    await tf.ready();
    return {
      tfjs: tf.version.tfjs,
      backend: tf.getBackend(),
      simd: await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT"),
      threads: await tf.env().getAsync("WASM_HAS_MULTITHREAD_SUPPORT"),
    };
  },

  perceptron({ widths, inputs, labels, batch, rate, weights }) {
    const classes = widths.at(-1);
    batches = Array.from({ length: labels.length / batch }, (_, index) => ({
      x: tf.tensor2d(inputs.slice(index * batch * widths[0], (index + 1) * batch * widths[0]), [batch, widths[0]]),
      y: tf.tidy(() => tf.oneHot(tf.tensor1d(Array.from(labels.slice(index * batch, (index + 1) * batch)), "int32"), classes)
        .toFloat()),
    }));

    let rest = weights;
    const initial = widths.slice(1).flatMap((width, index) =>
      [[widths[index], width], [width]].map((shape) => {
        const own = rest.slice(0, tf.util.sizeFromShape(shape));
        rest = rest.slice(own.length);
        return tf.tensor(own, shape);
      }));

    variables = initial.map((values) => tf.variable(values));
    optimizer = tf.train.sgd(rate);

    model = tf.sequential({
      layers: widths.slice(1).map((units, index) => tf.layers.dense({
        units,
        inputShape: index === 0 ? [widths[0]] : undefined,
        activation: index === widths.length - 2 ? "linear" : "relu",
      })),
    });
    model.compile({
      optimizer: tf.train.sgd(rate),
      loss: (labels, logits) => tf.losses.softmaxCrossEntropy(labels, logits),
    });
    model.setWeights(initial);
  },

  // The optimizer on a function of the variables, without the layers' library.
  minimize(count) {
    const logits = (x) => {
      for (let at = 0; at < variables.length; at += 2) {
        if (at > 0) x = x.relu();
        x = x.matMul(variables[at]).add(variables[at + 1]);
      }
      return x;
    };
    const started = performance.now();
    let loss;
    for (let step = 0; step < count; step++) {
      const { x, y } = batches[next.minimize++ % batches.length];
      loss = tf.tidy(() => optimizer.minimize(() => tf.losses.softmaxCrossEntropy(y, logits(x)), step === count - 1));
    }
    const [value] = loss.dataSync();
    const milliseconds = performance.now() - started;
    loss.dispose();
    return { milliseconds, loss: value };
  },

  async trainOnBatch(count) {
    const started = performance.now();
    let loss;
    for (let step = 0; step < count; step++) {
      const { x, y } = batches[next.trainOnBatch++ % batches.length];
      loss = await model.trainOnBatch(x, y);
    }
    return { milliseconds: performance.now() - started, loss };
  },
};

onmessage = async ({ data: { name, values } }) => {
  try {
    postMessage({ value: await functions[name](...values) });
  } catch (error) {
    postMessage({ error: String(error?.stack ?? error) });
  }
};
