// What an app has around the module.

import assert from 'node:assert/strict';

import { ScaleClient, ScaleError, type Options } from '@scale-fl/react-native';
import type { Native } from '@scale-fl/react-native/build/native.js';

import { FakeNative } from './fake.js';

declare global {
  /** Where the stand-in of Expo finds native modules. */
  var nativeModules: Record<string, Native> | undefined;
}

export const OPTIONS: Options = { coordinator: 'https://fl.example.org', task: 'merchants', taskKey: '00'.repeat(32) };

export async function open(native = new FakeNative()): Promise<{ native: FakeNative; client: ScaleClient }> {
  globalThis.nativeModules = { ScaleFL: native };
  return { native, client: await ScaleClient.create(OPTIONS) };
}

/** The call rejects with this error, which an app can tell by its fields. */
export async function rejects(call: Promise<unknown>, kind: string, code: string): Promise<ScaleError> {
  const error: unknown = await call.then(
    (value) => assert.fail(`it did not fail: ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
  assert.ok(error instanceof ScaleError, String(error));
  assert.deepEqual([error.kind, error.code], [kind, code], error.message);
  assert.ok(error.message.length > 10, 'the message is a sentence');
  return error;
}

/** A signal that knows who listens. */
export class CountingSignal {
  aborted = false;
  readonly listeners = new Set<() => void>();

  addEventListener(_: 'abort', listener: () => void): void {
    this.listeners.add(listener);
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.listeners.delete(listener);
  }

  abort(): void {
    this.aborted = true;
    for (const listener of this.listeners) listener();
  }
}
