// Rendered on the server: the package is imported there as well.

import { ScaleClient, ScaleError } from "@scale-fl/web";

import { App } from "./app.js";

// For each request: what the server knows of the package shows on the page.
export const dynamic = "force-dynamic";

export default function Page() {
  const server = [typeof ScaleClient.create, ScaleError.prototype instanceof Error].join(" ");
  return <App server={server} />;
}
