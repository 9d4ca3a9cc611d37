import { requireNativeModule } from 'expo';

import { ScaleError } from './errors.js';
import type { Failure } from './types.js';

/** The calls of a client, as the native modules name them. */
export type Method =
  | 'enroll'
  | 'put'
  | 'remove'
  | 'predict'
  | 'refreshModel'
  | 'participate'
  | 'status'
  | 'privacyReport'
  | 'exportPrivacyReport'
  | 'resetPrivacyLedger'
  | 'guardrails'
  | 'forget'
  | 'close';

/** How a call ended: with JSON, or a text that is one by nature; or with a failure. */
export type Answer = { done: string; failed?: undefined } | { failed: Failure; done?: undefined };

/** What the native modules emit. */
export type Events = {
  /** `progress`: JSON. */
  progress(event: { call: number; progress: string }): void;
  /** A round in the background has ended. */
  status(event: object): void;
};

/** The module of Swift (`ios/ScaleFLModule.swift`) and Kotlin (`android/.../ScaleFLModule.kt`): the same for both. */
export interface Native {
  /** Opens an installation. `configuration`: JSON, whose `folder` is a name. Answers with the client's number. */
  create(configuration: string): Promise<Answer>;
  /** Announces a call that can be stopped, so that no stop comes before its call. */
  announce(): number;
  /** `call`: the number from {@link Native.announce}, or 0 for a call that nothing stops. */
  call(client: number, call: number, method: Method, args: string[]): Promise<Answer>;
  /** Cancels an announced call. Nothing happens if it is over. */
  stop(call: number): void;
  /** Takes part in the background from now on, in the installation of this configuration. Answers with `null`. */
  enableBackground(configuration: string): Promise<Answer>;
  /** The same, if rounds in the background are enabled for the installation of this name. */
  resumeBackground(configuration: string): Promise<Answer>;
  disableBackground(): Promise<Answer>;
  /** Whether rounds run in the background: `true` or `false`. */
  backgroundEnabled(): Promise<Answer>;
  addListener<Name extends keyof Events>(name: Name, listener: Events[Name]): { remove(): void };
}

/** The native module of the app this runs in. */
export function nativeModule(): Native {
  try {
    // Not at the import: a screen that only shows types must load everywhere.
    return requireNativeModule<Native>('ScaleFL');
  } catch {
    const problem = 'this app was built without the native part of @scale-fl/react-native, which Expo Go does not have';
    const help = 'make a build of your own: npx expo run:ios, npx expo run:android, or EAS';
    throw new ScaleError('unsupported', 'no_native_module', `${problem}: ${help}`);
  }
}
