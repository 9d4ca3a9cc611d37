import { EnrollmentRefused } from "@/lib/trouble";

/** A fresh enrollment token from this app's own server, which knows the person; the SDK never talks to it. */
export async function freshToken(signal?: AbortSignal): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch("/api/enrollment", { cache: "no-store", signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new EnrollmentRefused("This app's server cannot be reached.", "Check the connection, then try again.");
  }
  const body: { token?: unknown; detail?: unknown } = await answer.json().catch(() => ({}));
  if (answer.ok && typeof body.token === "string") return body.token;
  const what = typeof body.detail === "string" ? body.detail : `This app's server answered ${answer.status}.`;
  throw new EnrollmentRefused(what, answer.status === 429 ? "Try again tomorrow." : "Tell whoever runs this server.");
}
