import type { Failure } from '../types.js';
import { ledgerLock } from './ledger.js';
import { wait, type Release } from './locks.js';

// Who takes part is in the name of a lock that is held meanwhile: every tab can read it, and it goes with its worker.

/** Says in all tabs that this page takes part, until it is released. */
export function announce(name: string, page: string): Promise<Release> {
  // Two calls of the same millisecond must not wait for each other: the core tells the second one.
  const unique = crypto.getRandomValues(new Uint32Array(2)).join('-');
  return wait(`${prefix(name)}${Date.now()}/${unique}${page}`);
}

/** The core knows only that somebody else has the ledger; a person wants to know who. */
export async function explained(failure: Failure, name: string): Promise<Failure> {
  if (failure.code !== 'ledger_in_use') return failure;
  const { held = [] } = await navigator.locks.query();
  const holder = held.find((lock) => lock.name === ledgerLock(name))?.clientId;
  const lock = held.find((lock) => lock.clientId === holder && lock.name?.startsWith(prefix(name)));
  const [since, , ...page] = lock?.name?.slice(prefix(name).length).split('/') ?? [];
  if (since === undefined) return failure;
  const time = new Date(Number(since)).toLocaleTimeString();
  const message = `another client, on the page /${page.join('/')}, has taken part in a round since ${time}: wait until it is done, or close its tab`;
  return { ...failure, message };
}

function prefix(name: string): string {
  return `${name}/participation/`;
}
