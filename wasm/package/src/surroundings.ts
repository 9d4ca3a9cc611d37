import type { Known } from './protocol.js';

/** Battery level from which it counts as not low; phones warn at 20 %. */
const LOW_BATTERY = 0.2;
/** How long the first call waits for the battery: a few milliseconds are usual. */
const BATTERY_MS = 500;

// Neither is in TypeScript's own types, as only some browsers have them.
interface Battery extends EventTarget {
  readonly charging: boolean;
  readonly level: number;
}
interface Connection extends EventTarget {
  readonly type?: string;
  readonly saveData?: boolean;
}
type Device = Navigator & { getBattery?(): Promise<Battery>; connection?: Connection };

/** Watches what the browser tells a page about the device: network, battery, visibility. */
export class Surroundings {
  readonly #changed: (known: Known) => void;
  readonly #off = new AbortController();
  /** Over when everything is known that the browser will tell, or after a moment. */
  readonly settled: Promise<unknown>;
  #battery: Battery | undefined;

  /** `changed`: called with everything that is known whenever something changes. */
  constructor(changed: (known: Known) => void) {
    this.#changed = changed;
    const device = navigator as Device;
    for (const [target, event] of [
      [globalThis, 'online'],
      [globalThis, 'offline'],
      [document, 'visibilitychange'],
      [device.connection, 'change'],
    ] as const) {
      this.#on(target, event);
    }
    // A page may be forbidden to ask (Permissions-Policy): then nothing is known about power.
    const asked = device.getBattery?.().then(
      (battery) => {
        this.#battery = battery;
        this.#on(battery, 'chargingchange');
        this.#on(battery, 'levelchange');
        this.#changed(this.known());
      },
      () => {},
    );
    this.settled = Promise.race([asked, new Promise((resolve) => setTimeout(resolve, BATTERY_MS))]);
  }

  #on(target: EventTarget | undefined, event: string): void {
    target?.addEventListener(event, () => this.#changed(this.known()), { signal: this.#off.signal });
  }

  known(): Known {
    const { connection, onLine } = navigator as Device;
    const type = connection?.type;
    return {
      online: onLine,
      charging: this.#battery?.charging,
      batteryFine: this.#battery && (this.#battery.charging || this.#battery.level > LOW_BATTERY),
      unmetered: type === undefined || type === 'unknown' ? undefined : type === 'wifi' || type === 'ethernet',
      // A page that nobody sees is not in use. One that is visible may still be: nobody knows.
      idle: document.visibilityState === 'hidden' ? true : undefined,
      saving: connection?.saveData,
    };
  }

  close(): void {
    this.#off.abort();
  }
}

/** Calls `pause` when the browser is about to stop this page's workers without a word. */
export function onSuspend(pause: () => void): () => void {
  const off = new AbortController();
  // `freeze`: Chrome's page lifecycle; `pagehide`: everybody, also before the page goes to the back/forward cache.
  document.addEventListener('freeze', pause, { signal: off.signal });
  globalThis.addEventListener('pagehide', pause, { signal: off.signal });
  return () => off.abort();
}
