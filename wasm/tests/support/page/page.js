// An app without a screen. Tests call what is on `window.app`.

const build = new URLSearchParams(location.search).get("build") ?? "package";

const violations = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective}: ${blockedURI}`);
});

// Everything that kept this thread busy for 50 ms, from the beginning of the page on.
const longTasks = [];
const observer = new PerformanceObserver((list) => note(list.getEntries()));
function note(entries) {
  longTasks.push(...entries.map(({ startTime, duration }) => ({ startTime, duration })));
}
observer.observe({ type: "longtask", buffered: true });

const clients = new Map();
const calls = new Map();
const workers = [];

function told(error) {
  const { name, message, kind, code, retryAfterMs } = error;
  return { error: { name, message, kind, code, retryAfterMs } };
}

function start(name, method, args, { signal, progress }) {
  const call = { phases: [], events: [], steps: 0, controller: new AbortController() };
  const options = { ...args.at(-1) };
  if (signal) options.signal = call.controller.signal;
  if (progress) {
    options.onProgress = (progress) => {
      if (progress.event.kind === "entered") call.phases.push(progress.phase);
      if (progress.event.kind === "step") call.steps = progress.event.step;
      call.permille = progress.permille;
      call.events.push(progress);
    };
  }
  const rest = signal || progress ? [...args.slice(0, -1), options] : args;
  call.ended = clients.get(name)[method](...rest).then(
    (value) => ({ value }),
    told,
  ).then((result) => {
    call.at = performance.now();
    return (call.result = result);
  });
  return call;
}

window.app = {
  // Creates a client. `keepWorkers`: the page makes the workers itself, so that a test can end them.
  async create(name, options, keepWorkers = false) {
    const scale = await import(`/${build}/index.js`);
    if (keepWorkers) {
      options.worker = () => {
        const worker = new Worker(`/${build}/worker.js`, { type: "module" });
        workers.push(worker);
        return worker;
      };
    }
    try {
      clients.set(name, await scale.ScaleClient.create(options));
      return { value: true };
    } catch (error) {
      return { ...told(error), ours: error instanceof scale.ScaleError };
    }
  },
  client: (name) => clients.get(name),
  // One call, and what becomes of it: { value } or { error }.
  call: (name, method, ...args) => start(name, method, args, {}).ended,
  // A call that reports progress and can be aborted, which goes on while the test does something else.
  begin(label, name, method, ...args) {
    calls.set(label, start(name, method, args, { signal: true, progress: ["participate", "testing"].includes(method) }));
  },
  reached: (label, phase) => calls.get(label).phases.includes(phase),
  progress(label) {
    const { phases, steps, permille, result, events } = calls.get(label);
    return { phases, steps, permille, over: result !== undefined, result, events };
  },
  end: (label) => calls.get(label).ended,
  // Aborts a call, and how long it takes to end.
  async abort(label) {
    const call = calls.get(label);
    const at = performance.now();
    call.controller.abort();
    return { ...(await call.ended), ms: call.at - at };
  },
  // Ends the newest worker as the browser does when it is short of memory: without a word.
  killWorker: () => workers.at(-1).terminate(),
  workers: () => workers.length,
  longTasks() {
    note(observer.takeRecords());
    return longTasks;
  },
  violations: () => violations,
  now: () => performance.now(),
};
