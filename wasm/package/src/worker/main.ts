/** The worker: owns the WebAssembly and what the browser stores for it. One per client at a time. */
import type { FromWorker, Method, Start, ToWorker } from '../protocol.js';
import type { Failure } from '../types.js';
import { Limit } from './limit.js';
import { wait } from './locks.js';
import { announce, explained } from './participation.js';
import { Platform } from './platform.js';
import init, { Client, Stop } from 'scale_fl.js';

declare const self: DedicatedWorkerGlobalScope;

interface Device {
  name: string;
  page: string;
  platform: Platform;
  client: Client;
}

/** Waits for the first message. */
let starting: Promise<Device> | undefined;
let device: Device | undefined;
const stops = new Map<number, Stop>();

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  switch (data.kind) {
    case 'start':
      starting = start(data);
      break;
    case 'call':
      void call(data.id, data.method, data.args);
      break;
    case 'stop':
      stops.get(data.id)?.[data.how]();
      break;
    case 'known':
      device?.platform.learn(data.known, data.persistent);
  }
};

// A trap of the WebAssembly: nothing in it can be used any more.
self.addEventListener('error', ({ message }) => died(new Error(message)));
self.addEventListener('unhandledrejection', ({ reason }) => died(reason));

async function start(data: Start): Promise<Device> {
  try {
    // Held until the worker ends: the page notices by it. Also if the browser ends it without a word.
    await wait(data.alive);
    post({ kind: 'awake' });
    const platform = new Platform(data);
    await load(data.wasm, data.silenceMs);
    device = { name: data.name, page: data.page, platform, client: new Client(platform, data.installation) };
    post({ kind: 'ready' });
    return device;
  } catch (error) {
    died(error);
    throw error;
  }
}

async function load(wasm: Start['wasm'], silenceMs: number): Promise<void> {
  if (wasm instanceof WebAssembly.Module || wasm instanceof ArrayBuffer) {
    await init({ module_or_path: wasm });
    return;
  }
  const url = new URL(wasm ?? new URL('./scale_fl.wasm', import.meta.url), self.location.href);
  // On the whole load: the browser keeps what it has compiled only of a response that nobody reads on the way.
  const limit = new Limit(LOAD_SILENCES * silenceMs, 'it has not come');
  try {
    const response = await fetch(url, { credentials: 'same-origin', signal: limit.signal });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    // Servers that do not know the type of the file exist, and streaming insists on it.
    const typed = response.headers.get('content-type')?.startsWith('application/wasm');
    await init({ module_or_path: typed ? response : await response.arrayBuffer() });
  } catch (error) {
    const message = `the WebAssembly cannot be loaded from ${url.href}: ${limit.explained(error).message}`;
    throw JSON.stringify({ kind: 'network', code: 'wasm_not_loaded', message } satisfies Failure);
  } finally {
    limit.end();
  }
}

/** Five minutes for less than a megabyte. */
const LOAD_SILENCES = 5;

async function call(id: number, method: Method, args: (string | number)[]): Promise<void> {
  const device = await (starting ?? Promise.reject(new Error('the worker got a call before its start')));
  const stop = new Stop();
  stops.set(id, stop);
  try {
    post({ kind: 'done', id, value: await perform(device, id, stop, method, args) });
  } catch (error) {
    // The core fails with text; anything else is a trap.
    if (typeof error !== 'string') {
      died(error);
      return;
    }
    post({ kind: 'failed', id, failure: await explained(JSON.parse(error) as Failure, device.name) });
  }
  stops.delete(id);
  stop.free();
}

async function perform(device: Device, id: number, stop: Stop, method: Method, args: (string | number)[]): Promise<unknown> {
  const { client } = device;
  const progress = (json: string) => post({ kind: 'progress', id, progress: JSON.parse(json) });
  const text = args[0] as string;
  switch (method) {
    case 'enroll':
      return client.enroll(text, stop);
    case 'put':
      return JSON.parse(await client.put(text));
    case 'remove':
      return client.remove(text);
    case 'predict':
      return JSON.parse(await client.predict(text, args[1] as number));
    case 'refreshModel':
      return JSON.parse(await client.refreshModel(stop));
    case 'participate':
      return participate(device, () => client.participate(text, stop, progress));
    case 'status':
      return JSON.parse(await client.status());
    case 'privacyReport':
      return JSON.parse(await client.privacyReport());
    case 'exportPrivacyReport':
      return client.exportPrivacyReport();
    case 'resetPrivacyLedger':
      return client.resetPrivacyLedger();
    case 'guardrails':
      return JSON.parse(client.guardrails());
    case 'forget':
      return client.forget(text);
    case 'close':
      return client.close();
    case 'testing':
      if (__TESTING__) return testing(device, text, args[1] as string, stop, progress);
      throw new Error('this is not the build for tests');
  }
}

declare const __TESTING__: boolean;

/** The build for the package's own tests has one more method. */
interface TestingClient {
  testing(what: string, options: string, stop: Stop, progress: (json: string) => void): Promise<string>;
}

async function testing(device: Device, what: string, options: string, stop: Stop, progress: (json: string) => void) {
  const client = device.client as unknown as TestingClient;
  return participate(device, () => client.testing(what, options, stop, progress));
}

async function participate({ name, page }: Device, work: () => Promise<string>): Promise<unknown> {
  const over = await announce(name, page);
  try {
    return JSON.parse(await work());
  } finally {
    over();
  }
}

function died(error: unknown): void {
  if (typeof error === 'string') {
    // The options were refused.
    const failure = JSON.parse(error) as Failure;
    post({ kind: 'dead', message: failure.message, failure });
    return;
  }
  const { message } = error as { message?: unknown };
  post({ kind: 'dead', message: typeof message === 'string' ? message : String(error) });
}

function post(message: FromWorker): void {
  self.postMessage(message);
}
