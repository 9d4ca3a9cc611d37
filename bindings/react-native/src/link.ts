import { aborted, closed, ScaleError, thrown } from './errors.js';
import type { Answer, Method, Native } from './native.js';
import type { Signal } from './options.js';
import type { Outcome, Progress } from './types.js';

/** Where an app's own mistakes in its callbacks go. Every React Native app has it. */
declare const console: { error(...what: unknown[]): void };

/** What a call may bring. */
export interface Extras {
  signal?: Signal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Calls that something can end early. */
const STOPPABLE: readonly Method[] = ['enroll', 'refreshModel', 'participate'];

/** The way to one native client. */
export class Link {
  readonly #native: Native;
  readonly #client: number;
  readonly #onProgress = new Map<number, (progress: Progress) => void>();
  readonly #progress: { remove(): void };
  #ended: Promise<unknown> | undefined;

  private constructor(native: Native, client: number) {
    this.#native = native;
    this.#client = client;
    this.#progress = native.addListener('progress', ({ call, progress }) => {
      const listener = this.#onProgress.get(call);
      if (listener) listen(() => listener(JSON.parse(progress) as Progress));
    });
  }

  static async open(native: Native, configuration: string): Promise<Link> {
    return new Link(native, Number(await answer(native.create(configuration))));
  }

  /** Resolves with the native side's text. */
  async call(method: Method, args: string[], { signal, onProgress }: Extras = {}): Promise<string> {
    if (this.#ended) throw closed();
    if (signal?.aborted) return before(method);
    if (!STOPPABLE.includes(method)) return answer(this.#native.call(this.#client, 0, method, args));
    const call = this.#native.announce();
    const abort = () => this.#native.stop(call);
    signal?.addEventListener('abort', abort);
    if (onProgress) this.#onProgress.set(call, onProgress);
    try {
      // Also after an abort: the device leaves its round first.
      return await answer(this.#native.call(this.#client, call, method, args));
    } finally {
      // The signal may outlive the call by far.
      signal?.removeEventListener('abort', abort);
      this.#onProgress.delete(call);
    }
  }

  /** Resolves when nothing runs through this client any more. Participations pause. */
  async close(): Promise<void> {
    this.#ended ??= answer(this.#native.call(this.#client, 0, 'close', [])).finally(() => this.#progress.remove());
    await this.#ended;
  }
}

/** What an answer of the native side comes to. */
export async function answer(answering: Promise<Answer>): Promise<string> {
  let answer: Answer;
  try {
    answer = await answering;
  } catch (error) {
    const problem = `the native module has failed, please report it: ${error instanceof Error ? error.message : 'unknown'}`;
    throw new ScaleError('internal', 'native_module', problem);
  }
  if (answer.failed) throw thrown(answer.failed);
  return answer.done;
}

/** Calls something of the app, whose mistakes are its own: they end no round. */
export function listen(call: () => void): void {
  try {
    call();
  } catch (error) {
    console.error('@scale-fl/react-native: a callback of the app has thrown', error);
  }
}

/** A call that was aborted before it began. */
function before(method: Method): string {
  if (method !== 'participate') throw aborted();
  // The core's own words.
  const left: Outcome = { kind: 'left', round: null, code: 'cancelled', sentence: 'cancelled by the app', until: Date.now() };
  return JSON.stringify(left);
}
