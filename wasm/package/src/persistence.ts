/** Asks the browser once to keep what is stored, and knows whether it does. */
export class Persistence {
  persistent = false;
  readonly #asked: string;

  constructor(name: string) {
    this.#asked = `${name}/persist-asked`;
  }

  async load(): Promise<boolean> {
    this.persistent = (await navigator.storage?.persisted?.().catch(() => false)) ?? false;
    return this.persistent;
  }

  /**
   * Firefox shows a question to the person, so it is put only when there is something to keep, and never again.
   * Resolves with whether the answer is new.
   */
  async ask(): Promise<boolean> {
    if (this.persistent || this.#wasAsked()) return false;
    this.persistent = (await navigator.storage?.persist?.().catch(() => false)) ?? false;
    return this.persistent;
  }

  /** The next installation asks again. */
  forget(): void {
    try {
      localStorage.removeItem(this.#asked);
    } catch {
      // Then nothing is there.
    }
  }

  #wasAsked(): boolean {
    try {
      if (localStorage.getItem(this.#asked) !== null) return true;
      localStorage.setItem(this.#asked, new Date().toISOString());
      return false;
    } catch {
      // A page that may store nothing here is not asked about either.
      return true;
    }
  }
}
