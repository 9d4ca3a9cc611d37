import type { Database } from './database.js';

/** Of the sealing key, beside the entries. It cannot be exported, not even by this page. */
const KEY = '';
const NONCE_BYTES = 12;
const AES = { name: 'AES-GCM', length: 256 };

/**
 * Small secrets by name. Each is sealed with its name by a key of WebCrypto that no script can read: a copy of the database
 * is useless without the browser that made it.
 */
export class Vault {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    const sealed = await this.#database.read('vault', (store) => store.get(name) as IDBRequest<Uint8Array | undefined>);
    if (sealed === undefined) return undefined;
    const key = await this.#key();
    if (key === undefined) throw new Error(lost(name, 'its key is gone'));
    const [iv, body] = [sealed.slice(0, NONCE_BYTES), sealed.slice(NONCE_BYTES)];
    const algorithm = { name: AES.name, iv, additionalData: named(name) };
    const opened = await crypto.subtle.decrypt(algorithm, key, body).catch(() => {
      throw new Error(lost(name, 'it is damaged'));
    });
    return new Uint8Array(opened);
  }

  /** Resolves with false, and changes nothing, if there is an entry. */
  async putNew(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const sealed = await this.#sealed(name, bytes);
    // Of several tabs, the first transaction wins: `add` fails where there is an entry.
    const isNew = { yes: true };
    await this.#database.write('vault', (store) => {
      const request = store.add(sealed, name);
      request.onerror = (event) => {
        if (request.error?.name !== 'ConstraintError') return;
        isNew.yes = false;
        // Else the whole transaction ends with this error.
        event.preventDefault();
        event.stopPropagation();
      };
    });
    return isNew.yes;
  }

  async put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const sealed = await this.#sealed(name, bytes);
    await this.#database.write('vault', (store) => void store.put(sealed, name));
  }

  async delete(name: string): Promise<void> {
    await this.#database.write('vault', (store) => void store.delete(name));
  }

  async #sealed(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    const key = (await this.#key()) ?? (await this.#make());
    const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const body = await crypto.subtle.encrypt({ name: AES.name, iv, additionalData: named(name) }, key, bytes);
    const sealed = new Uint8Array(NONCE_BYTES + body.byteLength);
    sealed.set(iv);
    sealed.set(new Uint8Array(body), NONCE_BYTES);
    return sealed;
  }

  #key(): Promise<CryptoKey | undefined> {
    return this.#database.read('vault', (store) => store.get(KEY) as IDBRequest<CryptoKey | undefined>);
  }

  /** Of several tabs that make one at the same moment, all use that of the first. */
  async #make(): Promise<CryptoKey> {
    const made = await crypto.subtle.generateKey(AES, false, ['encrypt', 'decrypt']);
    await this.#database.write('vault', (store) => {
      const request = store.get(KEY);
      request.onsuccess = () => {
        if (request.result === undefined) store.put(made, KEY);
      };
    });
    const key = await this.#key();
    if (key === undefined) throw new Error('the browser has not kept the key of this installation');
    return key;
  }
}

function named(name: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`scale-fl/vault/${name}`);
}

function lost(name: string, why: string): string {
  return `the entry \`${name}\` of this installation's vault cannot be opened, ${why}: forget everything and enroll again`;
}
