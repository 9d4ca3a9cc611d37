/**
 * Federated learning in a React Native app. The screens create a {@link ScaleClient}; everything else happens in the native
 * libraries for iOS and Android.
 */
export { ScaleClient, type StatusListener } from './client.js';
export { ScaleError } from './errors.js';
export type { Background, BackgroundStatus } from './background.js';
export type { CallOptions, Options, ParticipateOptions, Signal } from './options.js';
export type * from './types.js';
