import { aborted, ScaleError, thrown } from './errors';
import { TIMEOUTS, type Options, type Timeouts } from './options';
import type { FromWorker, Known, Method, ToWorker } from './protocol';
import type { Progress } from './types';

interface Open {
  method: Method;
  resolve(value: unknown): void;
  reject(error: Error): void;
  onProgress: ((progress: Progress) => void) | undefined;
}

/** What a call may bring. */
interface Extras {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** A worker that runs. */
interface Running {
  worker: Worker;
  /** Ends the wait for the worker's end. */
  ended: AbortController;
}

/**
 * The way to the worker, which is started by the first call and again after it has ended: idle, because of a fault, or by
 * the browser.
 */
export class Link {
  readonly #options: Options;
  readonly #timeouts: Timeouts;
  readonly #surroundings: () => { known: Known; persistent: boolean };
  readonly #onDeath: () => void;
  readonly #open = new Map<number, Open>();
  #wasm: Promise<string | ArrayBuffer | WebAssembly.Module | undefined> | undefined;
  #running: Running | undefined;
  #starting: Promise<Running> | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #calls = 0;
  #closed = false;

  constructor(options: Options, surroundings: () => { known: Known; persistent: boolean }, onDeath: () => void) {
    this.#options = options;
    this.#timeouts = { ...TIMEOUTS, ...options.timeouts };
    this.#surroundings = surroundings;
    this.#onDeath = onDeath;
  }

  async call(method: Method, args: unknown[], { signal, onProgress }: Extras = {}): Promise<unknown> {
    if (this.#closed) throw closed();
    // The core says how a participation ended, also one that was aborted before it began.
    if (signal?.aborted && method !== 'participate') throw aborted();
    const id = ++this.#calls;
    clearTimeout(this.#idle);
    const stop = () => this.#post({ kind: 'stop', id, how: 'cancel' });
    try {
      return await new Promise((resolve, reject) => {
        this.#open.set(id, { method, resolve, reject, onProgress });
        this.#start().then(({ worker }) => {
          // The worker may have died meanwhile, and the call with it.
          if (!this.#open.has(id)) return;
          worker.postMessage({ kind: 'call', id, method, args } satisfies ToWorker);
          signal?.addEventListener('abort', stop);
          if (signal?.aborted) stop();
        }, reject);
      });
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#open.delete(id);
      this.#rest();
    }
  }

  /** Keeps running participations for the next call, because the browser is about to stop the worker. */
  pause(): void {
    for (const [id, { method }] of this.#open) {
      if (method === 'participate') this.#post({ kind: 'stop', id, how: 'pause' });
    }
  }

  tell(): void {
    this.#post({ kind: 'known', ...this.#surroundings() });
  }

  /** Ends the worker; what is still open is answered with this. */
  end(error: ScaleError): void {
    const running = this.#running;
    this.#running = undefined;
    this.#starting = undefined;
    running?.ended.abort();
    running?.worker.terminate();
    for (const { reject } of this.#open.values()) reject(error);
    this.#open.clear();
  }

  /** Whether there is a worker that could be writing. */
  get isRunning(): boolean {
    return this.#starting !== undefined;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#idle);
    this.end(closed());
  }

  #post(message: ToWorker): void {
    this.#running?.worker.postMessage(message);
  }

  #rest(): void {
    if (this.#open.size > 0 || this.#closed) return;
    clearTimeout(this.#idle);
    // Nothing runs in it, so nothing is lost; its memory goes back to the system.
    this.#idle = setTimeout(() => this.end(fault('the worker was idle')), this.#timeouts.idleMs);
  }

  #start(): Promise<Running> {
    if (this.#starting) return this.#starting;
    const starting = this.#launch();
    this.#starting = starting;
    starting.catch(() => {
      if (this.#starting === starting) this.#starting = undefined;
    });
    return starting;
  }

  async #launch(): Promise<Running> {
    const { worker: make, wasm, coordinator, name = 'scale-fl', timeouts: _, ...installation } = this.#options;
    // A response can be read only once, and a worker may be needed again.
    this.#wasm ??= Promise.resolve(wasm instanceof Response ? wasm.arrayBuffer() : wasm instanceof URL ? wasm.href : wasm);
    const module = await this.#wasm;
    if (this.#closed) throw closed();
    // Bundlers find the worker by exactly this expression.
    const worker = make?.() ?? new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    const running: Running = { worker, ended: new AbortController() };
    const { callMs, silenceMs } = this.#timeouts;
    const alive = `${name}/worker/${crypto.randomUUID()}`;
    return new Promise((resolve, reject) => {
      let ready = false;
      // Nothing else ends the load of a script that nobody answers. The worker limits what it loads itself.
      const asleep = setTimeout(() => died(fault('its script was not loaded in time')), this.#timeouts.silenceMs);
      const died = (error: ScaleError) => {
        reject(error);
        clearTimeout(asleep);
        if (this.#running !== running) return;
        this.end(error);
        // Whoever asks for the status on that would start the next worker, which would not start either.
        if (ready) this.#onDeath();
      };
      worker.onerror = ({ message }) => died(fault(message || 'its script could not be loaded'));
      worker.onmessageerror = () => died(fault('a message could not be read'));
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        switch (data.kind) {
          case 'awake':
            clearTimeout(asleep);
            break;
          case 'ready':
            ready = true;
            this.#watch(alive, running, died);
            resolve(running);
            break;
          case 'dead':
            died(data.failure ? (thrown(data.failure) as ScaleError) : fault(data.message));
            break;
          default:
            this.#answer(data);
        }
      };
      this.#running = running;
      const installed = JSON.stringify(installation);
      const start = { coordinator, name, page: location.pathname, alive, wasm: module, callMs, silenceMs, installation: installed };
      worker.postMessage({ kind: 'start', ...start, ...this.#surroundings() } satisfies ToWorker);
    });
  }

  /** A browser that ends a worker tells nobody, but lets go of the worker's locks. */
  #watch(alive: string, { ended }: Running, died: (error: ScaleError) => void): void {
    navigator.locks.request(alive, { signal: ended.signal }, () => {
      if (!ended.signal.aborted) died(fault('the browser ended it'));
    }).catch(() => {});
  }

  #answer(data: Extract<FromWorker, { id: number }>): void {
    const call = this.#open.get(data.id);
    if (data.kind === 'progress') call?.onProgress?.(data.progress);
    else if (data.kind === 'done') call?.resolve(data.value);
    else call?.reject(thrown(data.failure));
  }
}

function closed(): ScaleError {
  return new ScaleError('usage', 'closed', 'this client is closed: create another one');
}

function fault(why: string): ScaleError {
  return new ScaleError('internal', 'worker_ended', `the worker ended (${why}): the next call starts another one, and a round goes on`);
}
