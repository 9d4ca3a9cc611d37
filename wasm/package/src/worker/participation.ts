import type { Failure } from '../types';
import { ledgerLock } from './ledger';
import { wait, type Release } from './locks';

// Who takes part is in the name of a lock that is held meanwhile: every tab can read it, and it goes with its worker.

/** Says in all tabs that this page takes part, until it is released. */
export function announce(name: string, page: string): Promise<Release> {
  return wait(`${prefix(name)}${Date.now()} ${page}`);
}

/** The core knows only that somebody else has the ledger; a person wants to know which tab. */
export async function explained(failure: Failure, name: string): Promise<Failure> {
  if (failure.code !== 'ledger_in_use') return failure;
  const { held = [] } = await navigator.locks.query();
  const holder = held.find((lock) => lock.name === ledgerLock(name))?.clientId;
  const lock = held.find((lock) => lock.clientId === holder && lock.name?.startsWith(prefix(name)));
  const [, since, page] = /(\d+) (.*)$/.exec(lock?.name ?? '') ?? [];
  if (since === undefined) return failure;
  const time = new Date(Number(since)).toLocaleTimeString();
  const message = `another tab (${page}) has taken part in a round since ${time}: wait until it is done, or close that tab`;
  return { ...failure, message };
}

function prefix(name: string): string {
  return `${name}/participation/`;
}
