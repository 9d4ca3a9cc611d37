import { ScaleError } from "@scale-fl/web";

/** What went wrong, and what the person can do about it. */
export interface Trouble {
  what: string;
  todo: string;
  code: string;
}

const TODO: Record<ScaleError["kind"], string> = {
  configuration: "The settings of this server are wrong; tell whoever runs it.",
  usage: "This is a fault of this page; reload it, and report it if it happens again.",
  network: "Check the connection, then try again. What you taught stays on this device.",
  refused: "Reload the page; if the service refuses again, tell whoever runs it.",
  storage: "Leave private browsing or free some space for this site, then reload the page.",
  privacy_ledger: "Nothing is sent until this is settled: see the privacy page.",
  model: "Try again; the model is downloaded anew.",
  unsupported: "Use a current version of Chrome, Edge, Firefox or Safari.",
  internal: "Reload the page, and report it if it happens again.",
};

export function troubleOf(error: unknown): Trouble {
  if (error instanceof ScaleError) return { what: error.message, todo: TODO[error.kind], code: error.code };
  if (error instanceof EnrollmentRefused) return { what: error.message, todo: error.todo, code: "no_token" };
  const what = error instanceof Error ? error.message : String(error);
  return { what: what || "Something unexpected went wrong.", todo: TODO.internal, code: "unexpected" };
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** This app's own server gave no enrollment token. */
export class EnrollmentRefused extends Error {
  constructor(message: string, readonly todo: string) {
    super(message);
  }
}

/** The record cannot be believed any more: nothing is sent until the person begins a new one. */
export function ledgerIsLocked({ code }: Trouble): boolean {
  return code === "ledger_missing" || code === "ledger_damaged" || code === "ledger_rolled_back";
}
