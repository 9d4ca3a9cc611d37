/** Ends a fetch after a time. */
export class Limit {
  readonly #milliseconds: number;
  readonly #reason: string;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(milliseconds: number, reason: string) {
    this.#milliseconds = milliseconds;
    this.#reason = reason;
    this.again();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  again(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#milliseconds);
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  /** Never with the address, which is signed and grants access. */
  explained(error: unknown): Error {
    if (this.signal.aborted) return new Error(`${this.#reason} for ${this.#milliseconds / 1000} s`);
    return error instanceof Error ? new Error(error.message) : new Error('the connection broke');
  }
}
