/**
 * Federated learning in a web app. The page creates a {@link ScaleClient}; everything else happens in a Web Worker.
 *
 * Importing this module touches no browser API, so a server may do it too.
 */
export { ScaleClient } from './client.js';
export { ScaleError } from './errors.js';
export type { CallOptions, Options, ParticipateOptions, Wasm } from './options.js';
export type * from './types.js';
