import type { Failure, Progress } from './types.js';

/** The calls that cross to the worker: the methods of the WebAssembly's `Client`, and their arguments. */
export type Method =
  | 'enroll'
  | 'put'
  | 'remove'
  | 'predict'
  | 'refreshModel'
  | 'participate'
  | 'status'
  | 'privacyReport'
  | 'exportPrivacyReport'
  | 'resetPrivacyLedger'
  | 'guardrails'
  | 'forget'
  | 'close'
  | 'testing';

/** What the page sees of the device; undefined: unknown. */
export interface Known {
  online?: boolean | undefined;
  charging?: boolean | undefined;
  batteryFine?: boolean | undefined;
  unmetered?: boolean | undefined;
  idle?: boolean | undefined;
  saving?: boolean | undefined;
}

/** The first message to a worker. */
export interface Start {
  kind: 'start';
  coordinator: string;
  /** JSON of the installation's options. */
  installation: string;
  name: string;
  /** The page's path, for a person who has it open in several tabs. */
  page: string;
  /** Name of the lock that the worker holds as long as it lives. */
  alive: string;
  wasm?: string | ArrayBuffer | WebAssembly.Module | undefined;
  persistent: boolean;
  known: Known;
  callMs: number;
  silenceMs: number;
}

export type ToWorker =
  | Start
  | { kind: 'call'; id: number; method: Method; args: (string | number)[] }
  | { kind: 'stop'; id: number; how: 'cancel' | 'pause' }
  | { kind: 'known'; known: Known; persistent: boolean };

export type FromWorker =
  /** Its script is loaded, and it has its lock. */
  | { kind: 'awake' }
  | { kind: 'ready' }
  | { kind: 'done'; id: number; value: unknown }
  | { kind: 'failed'; id: number; failure: Failure }
  | { kind: 'progress'; id: number; progress: Progress }
  /** The worker cannot be used; with a failure, because it could not start. */
  | { kind: 'dead'; message: string; failure?: Failure };
