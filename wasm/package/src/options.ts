import type { Installation, Progress } from './types.js';

/** The WebAssembly module, or where it is. */
export type Wasm = string | URL | Response | WebAssembly.Module;

/** The configuration of an installation. */
export interface Options extends Installation {
  /** The coordinator's address, such as `https://fl.example.org`. */
  coordinator: string;
  /** Keeps installations on one origin apart: each has its own identity, examples and ledger. Default `scale-fl`. */
  name?: string;
  /** Makes the worker, for a bundler that does not find it: `() => new Worker(url, { type: 'module' })`. */
  worker?: () => Worker;
  /** The WebAssembly module, if it is not beside the worker. */
  wasm?: Wasm;
  /** Limits on time, for tests. @internal */
  timeouts?: Partial<Timeouts>;
}

/** What an installation is called unless its app names it. */
export const NAME = 'scale-fl';

/** In milliseconds. */
export interface Timeouts {
  /** Longest time of one call to the coordinator; longer than the coordinator holds calls open. */
  callMs: number;
  /** Longest time without bytes within a download. */
  silenceMs: number;
  /** Time without calls after which the worker is ended. */
  idleMs: number;
}

export const TIMEOUTS: Timeouts = { callMs: 60_000, silenceMs: 60_000, idleMs: 60_000 };

export interface CallOptions {
  /** Ends the call, which rejects with an `AbortError`. */
  signal?: AbortSignal;
}

/** The options of one participation. */
export interface ParticipateOptions {
  /** Makes the device leave its round: the call ends with the outcome `left` and the code `cancelled`. */
  signal?: AbortSignal;
  /** Time after which the call ends with the outcome `paused` instead of waiting any longer. */
  budgetMs?: number;
  /** Credential of the REST API's training job, so that the person's screens show the round's progress. */
  job?: string;
  /** Joins regardless of the device's conditions, because the person asked for it. */
  ignoreConditions?: boolean;
  /** Called at most every 50 ms, and for every phase. */
  onProgress?: (progress: Progress) => void;
}
