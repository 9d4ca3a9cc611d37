import type { Known, Start } from '../protocol.js';
import { Database } from './database.js';
import { Ledger } from './ledger.js';
import { wait, type Release } from './locks.js';
import { Network, type Answer, type Download } from './network.js';
import { Vault } from './vault.js';

/** The methods that the WebAssembly calls: `Platform` of wasm/src/platform.rs. */
export class Platform {
  known: Known;
  readonly #name: string;
  readonly #database: Database;
  readonly #vault: Vault;
  readonly #ledger: Ledger;
  readonly #network: Network;
  #persistent: boolean;

  constructor(start: Start) {
    this.known = start.known;
    this.#persistent = start.persistent;
    this.#name = start.name;
    this.#database = new Database(start.name);
    this.#vault = new Vault(this.#database);
    this.#ledger = new Ledger(this.#database, start.name);
    this.#network = new Network(start);
  }

  learn(known: Known, persistent: boolean): void {
    this.known = known;
    this.#persistent = persistent;
  }

  storeGet(key: string): Promise<Uint8Array | undefined> {
    return this.#database.read('store', (store) => store.get(key) as IDBRequest<Uint8Array | undefined>);
  }
  storePut(key: string, bytes: Uint8Array): Promise<void> {
    return this.#database.write('store', (store) => void store.put(bytes, key));
  }
  storeDelete(key: string): Promise<void> {
    return this.#database.write('store', (store) => void store.delete(key));
  }
  storeClear(): Promise<void> {
    return this.#database.write('store', (store) => void store.clear());
  }
  persistent(): boolean {
    return this.#persistent;
  }
  turn(name: string): Promise<Release> {
    return wait(`${this.#name}/${name}`);
  }

  vaultGet(name: string): Promise<Uint8Array | undefined> {
    return this.#vault.get(name);
  }
  vaultPutNew(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    return this.#vault.putNew(name, bytes);
  }
  vaultPut(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#vault.put(name, bytes);
  }
  vaultDelete(name: string): Promise<void> {
    return this.#vault.delete(name);
  }

  ledgerHold(): Promise<Release | undefined> {
    return this.#ledger.hold();
  }
  ledgerRead(): Promise<Uint8Array | undefined> {
    return this.#ledger.read();
  }
  ledgerAppend(at: number, bytes: Uint8Array): Promise<void> {
    return this.#ledger.append(at, bytes);
  }
  ledgerReplace(bytes: Uint8Array): Promise<void> {
    return this.#ledger.replace(bytes);
  }
  ledgerRemove(): Promise<void> {
    return this.#ledger.remove();
  }

  unary(path: string, authorization: string | undefined, body: Uint8Array<ArrayBuffer>): Promise<Answer> {
    return this.#network.unary(path, authorization, body);
  }
  download(url: string, from: number): Promise<Download> {
    return this.#network.download(url, from);
  }

  conditions(): Known {
    // The page's view may be old: a worker knows by itself whether there is a network.
    return { ...this.known, online: navigator.onLine };
  }
  steady(): number {
    return performance.now();
  }
  startTimer(milliseconds: number): { over(): Promise<void>; stop(): void } {
    let id: ReturnType<typeof setTimeout> | undefined;
    const over = new Promise<void>((resolve) => {
      id = setTimeout(resolve, Math.min(milliseconds, LONGEST_TIMER));
    });
    return { over: () => over, stop: () => clearTimeout(id) };
  }
  breathe(): Promise<void> {
    // A timer would wait four milliseconds and more; a message comes after those that are waiting.
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(undefined);
    });
  }
  log(level: 'error' | 'warn', text: string): void {
    console[level](`scale-fl: ${text}`);
  }
}

/** Browsers count milliseconds in 31 bits. The core asks again after a wait that was too short. */
const LONGEST_TIMER = 2 ** 31 - 1;
