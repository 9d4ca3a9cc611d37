// A native module in JavaScript that behaves as those of Swift and Kotlin: calls are answered when they are over, a stopped
// participation leaves its round, and a closed client pauses.

import type { Answer, Events, Method, Native } from '@scale-fl/react-native/build/native.js';
import type { Failure, Outcome, Phase, Progress } from '@scale-fl/react-native';

export const PHASES = [
  'checking_in', 'downloading', 'training', 'keys', 'shares', 'uploading', 'agreeing', 'unmasking',
] as const satisfies readonly Phase[];

export interface Call {
  client: number;
  call: number;
  method: Method;
  args: string[];
}

/** A participation that runs. */
interface Running {
  client: number;
  phase: Phase;
  end(outcome: Outcome): void;
}

export class FakeNative implements Native {
  /** All that have crossed. */
  readonly calls: Call[] = [];
  readonly stopped: number[] = [];
  readonly configurations: string[] = [];
  background: string | undefined;
  resumed = 0;
  /** Answers the next call of this method in place of what it would. */
  readonly answers = new Map<string, () => Promise<Answer>>();
  /** The phase in which participations stay until they are stopped or continued; without one they contribute at once. */
  heldIn: Phase | undefined;
  readonly #listeners = { progress: new Set<Events['progress']>(), status: new Set<Events['status']>() };
  /** Announced calls. A stop is remembered until its call has begun. */
  readonly #announced = new Map<number, AbortController>();
  readonly #running = new Map<number, Running>();
  readonly #open = new Set<number>();
  #last = 0;

  get listening(): number {
    return this.#listeners.progress.size + this.#listeners.status.size;
  }

  async create(configuration: string): Promise<Answer> {
    const answer = await this.#instead('create');
    if (answer) return answer;
    this.configurations.push(configuration);
    this.#open.add(++this.#last);
    return { done: String(this.#last) };
  }

  announce(): number {
    this.#announced.set(++this.#last, new AbortController());
    return this.#last;
  }

  stop(call: number): void {
    this.stopped.push(call);
    this.#announced.get(call)?.abort();
  }

  async call(client: number, call: number, method: Method, args: string[]): Promise<Answer> {
    this.calls.push({ client, call, method, args });
    try {
      const answer = await this.#instead(method);
      if (answer) return answer;
      if (!this.#open.has(client)) return failed({ kind: 'usage', code: 'closed', message: 'this client is closed' });
      return await this.#answer(client, call, method, args);
    } finally {
      this.#announced.delete(call);
    }
  }

  async enableBackground(configuration: string): Promise<Answer> {
    const answer = await this.#instead('enableBackground');
    if (answer) return answer;
    this.background = configuration;
    return { done: 'null' };
  }

  async resumeBackground(configuration: string): Promise<Answer> {
    this.resumed += 1;
    const answer = await this.#instead('resumeBackground');
    if (answer) return answer;
    const name = (json: string | undefined): unknown => json && JSON.parse(json).folder;
    if (name(this.background) === name(configuration)) this.background = configuration;
    return { done: 'null' };
  }

  async disableBackground(): Promise<Answer> {
    this.background = undefined;
    return { done: 'null' };
  }

  async backgroundEnabled(): Promise<Answer> {
    return { done: String(this.background !== undefined) };
  }

  addListener<Name extends keyof Events>(name: Name, listener: Events[Name]): { remove(): void } {
    const listeners: Set<Events[Name]> = this.#listeners[name];
    listeners.add(listener);
    return { remove: () => listeners.delete(listener) };
  }

  /** Fails the next call of this method. */
  fail(method: string, failure: Failure): void {
    this.answers.set(method, async () => failed(failure));
  }

  /** Resolves when a participation is in {@link heldIn}. Resolves with its call. */
  async reached(): Promise<number> {
    for (;;) {
      for (const [call, { phase }] of this.#running) if (phase === this.heldIn) return call;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Lets a participation that is held contribute. */
  finish(call: number): void {
    this.#running.get(call)?.end(contributed());
  }

  tell(call: number, progress: Progress): void {
    for (const listener of this.#listeners.progress) listener({ call, progress: JSON.stringify(progress) });
  }

  /** As at the end of a round in the background. */
  tellStatus(): void {
    for (const listener of this.#listeners.status) listener({});
  }

  async #instead(method: string): Promise<Answer | undefined> {
    const answer = this.answers.get(method);
    this.answers.delete(method);
    return answer?.();
  }

  async #answer(client: number, call: number, method: Method, args: string[]): Promise<Answer> {
    switch (method) {
      case 'participate':
        return { done: JSON.stringify(await this.#participate(client, call)) };
      case 'enroll':
      case 'refreshModel':
        return this.heldIn === undefined ? { done: method === 'enroll' ? 'd-1' : 'null' } : this.#untilStopped(call);
      case 'put':
        return { done: JSON.stringify({ added: 1, replaced: 0, unchanged: 0, dropped: 0 }) };
      case 'remove':
        return { done: String(args.length) };
      case 'close':
        this.#open.delete(client);
        for (const running of this.#running.values()) if (running.client === client) running.end(paused(running.phase));
        return { done: 'null' };
      case 'exportPrivacyReport':
        return { done: '{"format":1}' };
      case 'resetPrivacyLedger':
        return { done: 'false' };
      case 'forget':
        return { done: 'null' };
      default:
        return { done: JSON.stringify({ of: method }) };
    }
  }

  async #participate(client: number, call: number): Promise<Outcome> {
    if (this.heldIn === undefined) return contributed();
    return new Promise((resolve) => {
      for (const phase of PHASES) {
        this.tell(call, entered(phase));
        if (phase === this.heldIn) break;
      }
      const end = (outcome: Outcome) => {
        this.#running.delete(call);
        resolve(outcome);
      };
      this.#running.set(call, { client, phase: this.heldIn!, end });
      this.#onStop(call, () => end(left()));
    });
  }

  #onStop(call: number, stop: () => void): void {
    const signal = this.#announced.get(call)?.signal;
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop);
  }

  #untilStopped(call: number): Promise<Answer> {
    return new Promise((resolve) => {
      const failure = { kind: 'cancelled', code: 'cancelled', message: 'cancelled by the app' } as const;
      this.#onStop(call, () => resolve(failed(failure)));
    });
  }
}

export function entered(phase: Phase): Progress {
  return { phase, permille: PHASES.indexOf(phase as (typeof PHASES)[number]) * 100, sentence: phase, event: { kind: 'entered' } };
}

function failed(failure: Failure): Answer {
  return { failed: failure };
}

function contributed(): Outcome {
  return { kind: 'contributed', round: 'r', number: 1, version: 1, receipt: null };
}

function left(): Outcome {
  return { kind: 'left', round: 'r', code: 'cancelled', sentence: 'cancelled by the app', until: 5 };
}

function paused(phase: Phase): Outcome {
  return { kind: 'paused', resumeAfterMs: 0, resumeBeforeMs: 1000, phase };
}
