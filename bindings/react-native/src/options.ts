import type { Installation, Progress } from './types.js';

/** The configuration of an installation. */
export interface Options extends Installation {
  /** The coordinator's address: `https://host[:port]`, or `http://host[:port]` in development. */
  coordinator: string;
  /**
   * Keeps installations of one app apart: each has its own identity, examples and ledger. Letters, digits, `-` and `_`.
   * Default `scale-fl`.
   */
  name?: string;
  /** A certificate authority to trust in addition to the public ones, as PEM, such as an operator's own. */
  certificateAuthority?: string;
}

/** What an installation is called unless its app names it. */
export const NAME = 'scale-fl';

/** What is used of an `AbortSignal`: that of React Native has not all that a browser's has. */
export interface Signal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

export interface CallOptions {
  /** Ends the call, which rejects with an `AbortError`. The signal of an `AbortController`. */
  signal?: Signal;
}

/** The options of one participation. */
export interface ParticipateOptions {
  /** Makes the device leave its round: the call ends with the outcome `left` and the code `cancelled`. */
  signal?: Signal;
  /** Time after which the call ends with the outcome `paused` instead of waiting any longer. */
  budgetMs?: number;
  /** Credential of the REST API's training job, so that the person's screens show the round's progress. */
  job?: string;
  /** Joins regardless of the device's conditions, because the person asked for it. */
  ignoreConditions?: boolean;
  /** Called at most four times a second. */
  onProgress?: (progress: Progress) => void;
}
