/** What is stored, one object store each: values by key, the vault's sealed entries, and the ledger's log. */
export type Part = 'store' | 'vault' | 'ledger';

const PARTS: Part[] = ['store', 'vault', 'ledger'];
const VERSION = 1;

/** The IndexedDB database of one installation. */
export class Database {
  readonly #name: string;
  #opened: Promise<IDBDatabase> | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** One read. */
  async read<T>(part: Part, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const database = await this.#open();
    return promised(work(database.transaction(part, 'readonly').objectStore(part)));
  }

  /**
   * One or more changes, all of them or none. Durable when it resolves: the device sends messages that depend on it.
   * `work` may go on in the request's event; what it returns is the result.
   */
  async write<T>(part: Part, work: (store: IDBObjectStore, failed: (error: Error) => void) => T): Promise<T> {
    const database = await this.#open();
    // Without "strict" Chrome resolves before the bytes are on the disk.
    const transaction = database.transaction(part, 'readwrite', { durability: 'strict' });
    return new Promise((resolve, reject) => {
      let reason: Error | undefined;
      let result: T;
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(reason ?? explained(transaction.error));
      result = work(transaction.objectStore(part), (error) => {
        reason = error;
        transaction.abort();
      });
    });
  }

  #open(): Promise<IDBDatabase> {
    if (this.#opened) return this.#opened;
    const opening = new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(this.#name, VERSION);
      request.onupgradeneeded = () => {
        for (const part of PARTS) request.result.createObjectStore(part);
      };
      request.onerror = () => reject(explained(request.error));
      request.onsuccess = () => resolve(request.result);
    }).then((database) => {
      const forget = () => {
        this.#opened = undefined;
      };
      database.onclose = forget;
      // A newer version of the app, in another tab, changes the database: this one must not stand in its way.
      database.onversionchange = () => {
        database.close();
        forget();
      };
      return database;
    });
    this.#opened = opening;
    opening.catch(() => {
      this.#opened = undefined;
    });
    return opening;
  }
}

function promised<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(explained(request.error));
  });
}

/** An error of the browser, with what a person can do about it. */
export function explained(error: DOMException | null): Error {
  switch (error?.name) {
    case 'QuotaExceededError':
      return new Error('the browser gives this site no more space: free some, or delete examples');
    case 'VersionError':
      return new Error('the stored data was written by a newer version of this app: load the page again');
    default:
      return new Error(`the browser's storage failed: ${error?.message || error?.name || 'it gave no reason'}`);
  }
}
