/**
 * Federated learning in a web app. The page creates a {@link ScaleClient}; everything else happens in a Web Worker.
 *
 * Importing this module touches no browser API, so a server may do it too.
 */
export { ScaleClient } from './client';
export { ScaleError } from './errors';
export type { CallOptions, Options, ParticipateOptions, Wasm } from './options';
export type * from './types';
