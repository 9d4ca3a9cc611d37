import { type NextRequest, NextResponse } from "next/server";

import { contentSecurityPolicy } from "@/lib/policy";

// Runs before every answer, also before those of static files: a worker obeys the policy that came with its own script,
// not the page's, and the worker is what holds the examples and talks to the coordinator.
export function proxy(request: NextRequest): NextResponse {
  const nonce = btoa(crypto.randomUUID());
  const development = process.env.NODE_ENV === "development";
  const policy = contentSecurityPolicy(nonce, process.env.SCALE_COORDINATOR, development);
  const headers = new Headers(request.headers);
  // Next reads the nonce out of this header and puts it on the scripts that it writes.
  headers.set("content-security-policy", policy);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  response.headers.set("x-content-type-options", "nosniff");
  response.headers.set("referrer-policy", "no-referrer");
  return response;
}
