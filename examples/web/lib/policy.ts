// What the browser lets these pages do. Everything comes from this server; the only other host that code may talk to is
// the coordinator. There is no `unsafe-inline`: scripts that Next writes into a page carry the answer's nonce, and no
// element has a style attribute.

export function contentSecurityPolicy(nonce: string, coordinator: string | undefined, development: boolean): string {
  const policy: Record<string, string[]> = {
    "default-src": ["'self'"],
    // WebAssembly may be compiled; text may not be run as code.
    "script-src": ["'self'", "'wasm-unsafe-eval'", `'nonce-${nonce}'`],
    "style-src": ["'self'"],
    "worker-src": ["'self'"],
    "connect-src": ["'self'", ...origin(coordinator)],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
  };
  if (development) {
    // React rebuilds the server's stack traces with eval, and Next shows errors in an overlay with styles of its own.
    policy["script-src"]?.push("'unsafe-eval'");
    policy["style-src"]?.push("'unsafe-inline'");
    policy["connect-src"]?.push("ws:");
  }
  return Object.entries(policy).map(([name, sources]) => `${name} ${sources.join(" ")}`).join("; ");
}

function origin(url: string | undefined): string[] {
  return url && URL.canParse(url) ? [new URL(url).origin] : [];
}
