// The native module in a process of its own: the Android module's Kotlin, over the real library (tests/bridge).

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import type { Answer, Events, Method, Native } from '@scale-fl/react-native/build/native.js';

import { place } from './places.js';

export class Bridge implements Native {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #open = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  readonly #progress = new Set<Events['progress']>();
  #background: string | undefined;
  #last = 0;

  constructor(folder: string) {
    const [java, ...args] = JSON.parse(place('SCALE_BRIDGE')) as [string, ...string[]];
    this.#process = spawn(java, [...args, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#told(JSON.parse(line)));
    this.#process.on('close', (code) => {
      for (const { reject } of this.#open.values()) reject(new Error(`the bridge has ended (${code})`));
    });
  }

  create(configuration: string): Promise<Answer> {
    return this.#ask({ do: 'create', configuration });
  }

  announce(): number {
    const call = ++this.#last;
    this.#tell({ do: 'announce', call });
    return call;
  }

  call(client: number, call: number, method: Method, args: string[]): Promise<Answer> {
    return this.#ask({ do: 'call', client, call, method, args });
  }

  stop(call: number): void {
    this.#tell({ do: 'stop', call });
  }

  /** As when JavaScript reloads: its clients are gone. */
  reload(): void {
    this.#tell({ do: 'end' });
  }

  // What only a phone does.
  async enableBackground(configuration: string): Promise<Answer> {
    this.#background = configuration;
    return { done: 'null' };
  }

  async resumeBackground(): Promise<Answer> {
    return { done: 'null' };
  }

  async disableBackground(): Promise<Answer> {
    this.#background = undefined;
    return { done: 'null' };
  }

  async backgroundEnabled(): Promise<Answer> {
    return { done: String(this.#background !== undefined) };
  }

  addListener<Name extends keyof Events>(name: Name, listener: Events[Name]): { remove(): void } {
    if (name === 'progress') this.#progress.add(listener as Events['progress']);
    return { remove: () => this.#progress.delete(listener as Events['progress']) };
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.stdin.end();
    await closed;
  }

  #told(line: { id: number; answer: Answer } | { call: number; progress: string }): void {
    if ('call' in line) {
      for (const listener of this.#progress) listener(line);
      return;
    }
    this.#open.get(line.id)?.resolve(line.answer);
    this.#open.delete(line.id);
  }

  #ask(order: object): Promise<Answer> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject });
      this.#tell({ id, ...order });
    });
  }

  #tell(order: object): void {
    this.#process.stdin.write(`${JSON.stringify(order)}\n`);
  }
}
