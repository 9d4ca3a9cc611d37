import { answer } from './link.js';
import type { Native } from './native.js';

/** Whether rounds run in the background. */
export interface BackgroundStatus {
  enabled: boolean;
}

/** Goes on with rounds in the background, if they are enabled for this installation: what has ended them may be over. */
export async function resume(native: Native, configuration: string): Promise<void> {
  // An extra: what the app has asked for is done.
  await answer(native.resumeBackground(configuration)).catch(() => {});
}

/**
 * Rounds in the background. They run natively, also while no JavaScript runs: on Android as work of WorkManager, on iOS as a
 * BGProcessingTask. How the last one ended is in `status().last`.
 *
 * One installation of an app takes part in the background: the one for which it was enabled last.
 */
export class Background {
  readonly #native: Native;
  readonly #configuration: () => string;

  /** `configuration`: that of the client, if it is open. */
  constructor(native: Native, configuration: () => string) {
    this.#native = native;
    this.#configuration = configuration;
  }

  /** Takes part from now on, also after a restart of the phone. Call it when the person has agreed. */
  async enable(): Promise<void> {
    await answer(this.#native.enableBackground(this.#configuration()));
  }

  /** Takes part in no more rounds. One that runs is stored, and goes on with the next `participate` if it comes in time. */
  async disable(): Promise<void> {
    await answer(this.#native.disableBackground());
  }

  async status(): Promise<BackgroundStatus> {
    return { enabled: (await answer(this.#native.backgroundEnabled())) === 'true' };
  }
}
