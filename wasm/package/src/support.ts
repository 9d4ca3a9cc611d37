import { ScaleError } from './errors.js';

/** A module with one SIMD instruction. */
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

/** A module with a null reference, which wasm-bindgen's code needs. */
const REFERENCES = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 7, 1, 5, 0, 208, 112, 26, 11,
]);

/** Throws if this browser cannot run the worker, before anything is loaded. */
export function checkSupport(): void {
  const there: [string, boolean][] = [
    ['Web Workers', typeof Worker === 'function'],
    ['WebAssembly with SIMD and references', runs(SIMD) && runs(REFERENCES)],
    ['IndexedDB', typeof indexedDB === 'object' && indexedDB !== null],
    ['Web Locks', typeof navigator === 'object' && typeof navigator.locks === 'object'],
    ['WebCrypto', typeof crypto === 'object' && typeof crypto.subtle === 'object'],
  ];
  const missing = there.filter(([, is]) => !is).map(([name]) => name);
  if (missing.length === 0) return;
  const secure = globalThis.isSecureContext === false ? ' The page was not loaded over HTTPS, which these need.' : '';
  throw new ScaleError(
    'unsupported',
    'unsupported_browser',
    `this browser lacks ${missing.join(', ')}: Chrome 97, Firefox 114, Safari 16.4 and later have them.${secure}`,
  );
}

function runs(module: BufferSource): boolean {
  return typeof WebAssembly === 'object' && WebAssembly.validate(module);
}
