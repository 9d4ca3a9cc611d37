import { aborted, closed, ScaleError, thrown } from './errors.js';
import { NAME, TIMEOUTS, type Options, type Timeouts } from './options.js';
import type { FromWorker, Known, Method, ToWorker } from './protocol.js';
import type { Outcome, Progress } from './types.js';
import { moduleOf, type Loadable } from './wasm.js';

interface Open {
  method: Method;
  resolve(value: unknown): void;
  reject(error: Error): void;
  onProgress: ((progress: Progress) => void) | undefined;
}

/** What a call may bring. */
export interface Extras {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** A worker, from its start on. */
interface Running {
  worker: Worker;
  isReady: boolean;
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
  #wasm: Promise<Loadable> | undefined;
  #running: Running | undefined;
  #starting: Promise<Running> | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #calls = 0;
  #whenQuiet: (() => void) | undefined;
  #closed = false;

  constructor(options: Options, surroundings: () => { known: Known; persistent: boolean }, onDeath: () => void) {
    this.#options = options;
    this.#timeouts = { ...TIMEOUTS, ...options.timeouts };
    this.#surroundings = surroundings;
    this.#onDeath = onDeath;
  }

  async call(method: Method, args: (string | number)[], { signal, onProgress }: Extras = {}): Promise<unknown> {
    if (this.#closed) throw closed();
    const id = ++this.#calls;
    clearTimeout(this.#idle);
    let stop = () => {};
    const abort = () => stop();
    try {
      return await new Promise((resolve, reject) => {
        // Before the worker has the call there is nothing to leave.
        stop = () => (method === 'participate' ? resolve(cancelled()) : reject(aborted()));
        if (signal?.aborted) return stop();
        signal?.addEventListener('abort', abort);
        this.#open.set(id, { method, resolve, reject, onProgress });
        this.#start().then(({ worker }) => {
          // The call may be over, or its worker may have died meanwhile.
          if (!this.#open.has(id)) return;
          worker.postMessage({ kind: 'call', id, method, args } satisfies ToWorker);
          stop = () => this.#post({ kind: 'stop', id, how: 'cancel' });
        }, reject);
      });
    } finally {
      // The signal may outlive the call by far.
      signal?.removeEventListener('abort', abort);
      this.#open.delete(id);
      this.#rest();
      if (this.#open.size === 0) this.#whenQuiet?.();
    }
  }

  /** Keeps running participations for the next call, because the browser is about to stop the worker. */
  pause(): void {
    for (const [id, { method }] of this.#open) {
      if (method === 'participate' || method === 'testing') this.#post({ kind: 'stop', id, how: 'pause' });
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
  get #isReady(): boolean {
    return this.#running?.isReady === true;
  }

  /** Ends the worker once what runs in it is over, and has been answered. */
  async close(): Promise<void> {
    // A worker that is not ready has written nothing.
    if (this.#isReady) {
      // One that has died meanwhile writes nothing either.
      await this.call('close', []).catch(() => {});
      if (this.#open.size > 0) await new Promise<void>((resolve) => (this.#whenQuiet = resolve));
    }
    this.#close();
  }

  #close(): void {
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
    this.#idle = setTimeout(() => this.end(died('it was idle')), this.#timeouts.idleMs);
  }

  #start(): Promise<Running> {
    if (this.#starting) return this.#starting;
    const isCurrent = () => this.#starting === starting;
    const starting: Promise<Running> = this.#launch(isCurrent);
    this.#starting = starting;
    starting.catch(() => {
      if (isCurrent()) this.#starting = undefined;
    });
    return starting;
  }

  /** `isCurrent`: nobody has ended or closed this meanwhile. */
  async #launch(isCurrent: () => boolean): Promise<Running> {
    const { worker: make, wasm, coordinator, name = NAME, timeouts: _, ...installation } = this.#options;
    // A response can be read only once, and a worker may be needed again.
    this.#wasm ??= moduleOf(wasm);
    const module = await this.#wasm.catch((error: unknown) => {
      this.#wasm = undefined;
      throw error;
    });
    if (!isCurrent()) throw this.#closed ? closed() : unstarted('it was ended while it started');
    const worker = made(make);
    const running: Running = { worker, isReady: false, ended: new AbortController() };
    const { callMs, silenceMs } = this.#timeouts;
    const alive = `${name}/worker/${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
    return new Promise((resolve, reject) => {
      const ended = (error: ScaleError) => {
        reject(error);
        clearTimeout(asleep);
        if (this.#running !== running) return;
        this.end(error);
        // Whoever asks for the status on that would start the next worker, which would not start either.
        if (running.isReady) this.#onDeath();
      };
      const fault = (why: string) => ended(running.isReady ? died(why) : unstarted(why));
      // Nothing else ends the load of a script that nobody answers. The worker limits what it loads itself.
      const asleep = setTimeout(() => fault('its script was not loaded in time'), silenceMs);
      running.ended.signal.addEventListener('abort', () => clearTimeout(asleep));
      worker.onerror = ({ message }) => fault(message || 'its script could not be loaded');
      worker.onmessageerror = () => fault('a message could not be read');
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        switch (data.kind) {
          case 'awake':
            clearTimeout(asleep);
            this.#watch(alive, running, () => fault('the browser ended it'));
            break;
          case 'ready':
            running.isReady = true;
            // What has changed since its first message.
            this.tell();
            resolve(running);
            break;
          case 'dead':
            if (data.failure) ended(thrown(data.failure) as ScaleError);
            else fault(data.message);
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
  #watch(alive: string, { ended }: Running, died: () => void): void {
    navigator.locks
      .request(alive, { signal: ended.signal }, () => {
        if (!ended.signal.aborted) died();
      })
      .catch(() => {});
  }

  #answer(data: Extract<FromWorker, { id: number }>): void {
    const call = this.#open.get(data.id);
    if (data.kind === 'progress') call?.onProgress?.(data.progress);
    else if (data.kind === 'done') call?.resolve(data.value);
    else call?.reject(thrown(data.failure));
  }
}

function made(make: (() => Worker) | undefined): Worker {
  try {
    // Bundlers find the worker by exactly this expression.
    return make?.() ?? new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  } catch (error) {
    // A script of another origin, or one that the page's policy forbids.
    throw unstarted((error as Error).message);
  }
}

/** The core's own words for a call that was cancelled before it began. */
function cancelled(): Outcome {
  return { kind: 'left', round: null, code: 'cancelled', sentence: 'cancelled by the app', until: Date.now() };
}

function died(why: string): ScaleError {
  const message = `the worker ended (${why}): the next call starts another one, and a round goes on`;
  return new ScaleError('internal', 'worker_ended', message);
}

function unstarted(why: string): ScaleError {
  const kind = navigator.onLine ? 'internal' : 'network';
  return new ScaleError(kind, 'worker_not_started', `the worker could not be started (${why}): the next call tries again`);
}
