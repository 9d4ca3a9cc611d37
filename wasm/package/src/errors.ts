import { aborted } from './aborted.js';
import type { ErrorKind, Failure } from './types.js';

export { aborted };

/** Why a call failed. An aborted call rejects with an error of the name `AbortError` instead. */
export class ScaleError extends Error {
  override readonly name = 'ScaleError';
  /** What the app can do about it, roughly. */
  readonly kind: Exclude<ErrorKind, 'cancelled'>;
  /** Stable code of the cause. */
  readonly code: string;
  /** How long to wait before the call is repeated, if the coordinator has said so. */
  readonly retryAfterMs?: number;

  constructor(kind: Exclude<ErrorKind, 'cancelled'>, code: string, message: string, retryAfterMs?: number) {
    super(message);
    this.kind = kind;
    this.code = code;
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
  }
}

/** What a refused call rejects with. */
export function thrown({ kind, code, message, retryAfterMs }: Failure): Error {
  if (kind === 'cancelled') return aborted();
  return new ScaleError(kind, code, message, retryAfterMs ?? undefined);
}

export function closed(): ScaleError {
  return new ScaleError('usage', 'closed', 'this client is closed: create another one');
}
