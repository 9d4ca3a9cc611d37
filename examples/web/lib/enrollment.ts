import "server-only";

import { readFile } from "node:fs/promises";

// Where this server has enrollment tokens from. A token lets one browser enroll as a device; it says nothing about the
// person, and the page hands it to the SDK at once.

/** Why there is no token; `status` is the answer's. */
export class NoToken extends Error {
  constructor(readonly status: number, message: string, readonly retryAfter: string | null = null) {
    super(message);
  }
}

export async function enrollmentToken(): Promise<string> {
  const { SCALE_FACADE_TOKEN, SCALE_ENROLL_TOKEN_FILE, SCALE_ENROLL_TOKEN } = process.env;
  if (SCALE_FACADE_TOKEN) return ofPerson(SCALE_FACADE_TOKEN);
  const token = SCALE_ENROLL_TOKEN_FILE ? await inFile(SCALE_ENROLL_TOKEN_FILE) : SCALE_ENROLL_TOKEN?.trim();
  if (token) return token;
  throw new NoToken(503, "This server has no enrollment token: set SCALE_ENROLL_TOKEN_FILE or SCALE_ENROLL_TOKEN.");
}

/** What a real app does, with the access token of the session in place of `personToken`: one token for one person. */
async function ofPerson(personToken: string): Promise<string> {
  const answer = await fetch(`${process.env.SCALE_COORDINATOR}/api/v1/devices/enrollment`, {
    method: "POST",
    headers: { authorization: `Bearer ${personToken}` },
    cache: "no-store",
    signal: AbortSignal.timeout(10_000),
  }).catch(() => {
    throw new NoToken(502, "The service that gives enrollment tokens cannot be reached. Try again later.");
  });
  const body = await answer.json().catch(() => null);
  if (answer.ok && typeof body?.token === "string") return body.token;
  const why = typeof body?.detail === "string" ? body.detail : `The service answered ${answer.status}.`;
  throw new NoToken(answer.ok ? 502 : answer.status, why, answer.headers.get("retry-after"));
}

async function inFile(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    throw new NoToken(503, "This server cannot read the file that SCALE_ENROLL_TOKEN_FILE names.");
  }
}
