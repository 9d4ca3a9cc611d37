import type { Database } from './database.js';
import { take, type Release } from './locks.js';

const LOG = 'log';

/** Name of the lock that whoever changes the log has. */
export function ledgerLock(name: string): string {
  return `${name}/ledger`;
}

/** The privacy ledger's log: one value, which only the worker that has the lock changes. */
export class Ledger {
  readonly #database: Database;
  readonly #lock: string;

  constructor(database: Database, name: string) {
    this.#database = database;
    this.#lock = ledgerLock(name);
  }

  hold(): Promise<Release | undefined> {
    return take(this.#lock);
  }

  read(): Promise<Uint8Array | undefined> {
    return this.#database.read('ledger', (store) => store.get(LOG) as IDBRequest<Uint8Array | undefined>);
  }

  async append(at: number, bytes: Uint8Array): Promise<void> {
    await this.#database.write('ledger', (store, failed) => {
      const request = store.get(LOG) as IDBRequest<Uint8Array | undefined>;
      request.onsuccess = () => {
        const log = request.result ?? new Uint8Array();
        if (log.length !== at || at === 0) {
          failed(new Error(`the privacy ledger has ${log.length} bytes instead of ${at}: something else wrote to it`));
          return;
        }
        const longer = new Uint8Array(at + bytes.length);
        longer.set(log);
        longer.set(bytes, at);
        store.put(longer, LOG);
      };
    });
  }

  async replace(bytes: Uint8Array): Promise<void> {
    await this.#database.write('ledger', (store) => void store.put(bytes, LOG));
  }

  async remove(): Promise<void> {
    await this.#database.write('ledger', (store) => void store.delete(LOG));
  }
}
