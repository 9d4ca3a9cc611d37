// A world with a coordinator and other devices, and an app over the real library in it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { ScaleClient, type Example, type Options, type Outcome, type ParticipateOptions } from '@scale-fl/react-native';

import { Bridge } from './bridge.js';
import { place } from './places.js';

export const TASK = 'merchants';

/** What takes orders (wasm/tests/support/world.mjs: the tests for browsers have the same world). */
interface World {
  tell(what: string, fields?: object): Promise<any>;
  beyondNatives(task: string, number: number, apps: number[]): Promise<{ survivors: number; beyond: [number, number][] }>;
  close(): Promise<void>;
}

export class Scene {
  readonly folder = mkdtempSync(join(tmpdir(), 'scale-react-native-'));
  readonly bridge = new Bridge(this.folder);
  readonly world: World;
  url = '';
  taskKey = '';
  #names = 0;

  private constructor(world: World) {
    this.world = world;
    globalThis.nativeModules = { ScaleFL: this.bridge };
  }

  /** `task`: fields of the order `task`. */
  static async set(wanted: { natives?: number; gate?: boolean; task?: object }): Promise<Scene> {
    const { natives = 0, gate = false, task = {} } = wanted;
    const file = pathToFileURL(join(place('SCALE_REPOSITORY'), 'wasm/tests/support/world.mjs')).href;
    const { World } = (await import(file)) as { World: new () => World };
    const scene = new Scene(new World());
    try {
      const told = await scene.world.tell('start', { gate });
      scene.url = told.url;
      scene.taskKey = told.task_key;
      await scene.world.tell('task', { name: TASK, labels: ['dining', 'fuel', 'groceries'], ...task });
      if (natives > 0) await scene.world.tell('natives', { task: TASK, count: natives });
      return scene;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  /** Of an installation of its own. Nothing is known of the device, so everything is allowed. */
  options(changes: Partial<Options> = {}): Options {
    return { coordinator: this.url, task: TASK, taskKey: this.taskKey, name: `app-${this.#names++}`, ...changes };
  }

  async token(): Promise<string> {
    return (await this.world.tell('token')).token;
  }

  async enrolled(): Promise<ScaleClient> {
    const client = await ScaleClient.create(this.options());
    await client.enroll(await this.token());
    await client.put(examples(40));
    return client;
  }

  async close(): Promise<void> {
    await this.bridge.close();
    await this.world.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Examples of a person who eats out and drives. */
export function examples(count: number): Example[] {
  return Array.from({ length: count }, (_, number) =>
    number % 2 === 0
      ? { id: `t-${number}`, text: `CAFE ROMA ${number}`, label: 'dining' }
      : { id: `t-${number}`, text: `PETROL OSLO ${number}`, label: 'fuel' });
}

type Contributed = Extract<Outcome, { kind: 'contributed' }>;

/** Takes part until the device has contributed, as an app does: again when it may. */
export async function contributes(client: ScaleClient, options: ParticipateOptions = {}): Promise<Contributed> {
  const end = Date.now() + 90_000;
  for (;;) {
    const outcome = await client.participate(options);
    if (outcome.kind === 'contributed') return outcome;
    if (Date.now() > end || outcome.kind === 'enrollment_needed') throw new Error(JSON.stringify(outcome));
    const wait = outcome.kind === 'paused' ? outcome.resumeAfterMs : outcome.until - Date.now();
    await new Promise((resolve) => setTimeout(resolve, Math.min(Math.max(wait, 50), 2_000)));
  }
}
