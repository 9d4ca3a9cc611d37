import { ScaleError } from './errors.js';
import type { Wasm } from './options.js';

/** What can be sent to a worker, more than once. */
export type Loadable = string | ArrayBuffer | WebAssembly.Module | undefined;

/** Addresses are the page's: a worker would resolve them against its own script. */
export async function moduleOf(wasm: Wasm | undefined): Promise<Loadable> {
  if (wasm instanceof URL) return wasm.href;
  if (typeof wasm === 'string') return new URL(wasm, document.baseURI).href;
  if (!(wasm instanceof Response)) return wasm;
  if (!wasm.ok) throw unusable(`has the HTTP status ${wasm.status}`);
  return wasm.arrayBuffer().catch((error: Error) => {
    throw unusable(`cannot be read: ${error.message}`);
  });
}

function unusable(problem: string): ScaleError {
  return new ScaleError('configuration', 'bad_option', `the response given as the option \`wasm\` ${problem}`);
}
