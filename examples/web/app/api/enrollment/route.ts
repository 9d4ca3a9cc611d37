import { enrollmentToken, NoToken } from "@/lib/enrollment";

export const dynamic = "force-dynamic";

export async function GET(request: Request): Promise<Response> {
  // A token is for this page only; browsers say where a request comes from.
  const site = request.headers.get("sec-fetch-site");
  if (site && site !== "same-origin") return problem(new NoToken(403, "Ask from this server's own page."));
  try {
    return Response.json({ token: await enrollmentToken() }, { headers: { "cache-control": "no-store" } });
  } catch (error) {
    if (error instanceof NoToken) return problem(error);
    throw error;
  }
}

function problem({ status, message, retryAfter }: NoToken): Response {
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  if (retryAfter) headers.set("retry-after", retryAfter);
  return Response.json({ status, detail: message }, { status, headers });
}
