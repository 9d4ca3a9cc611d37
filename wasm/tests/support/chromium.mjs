// Chromium, without anything that it does in the background by itself.

import { chromiumPath, playwright } from "./places.mjs";

export const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export function startChromium(flags = []) {
  return playwright().chromium.launch({ executablePath: chromiumPath(), args: [...FLAGS, ...flags] });
}

// A browser with a profile on the disk, in this folder. The others have theirs in memory.
export function startProfile(folder) {
  return playwright().chromium.launchPersistentContext(folder, { executablePath: chromiumPath(), args: FLAGS });
}

// What goes wrong on a page that a person would only see in the developer tools.
export function watch(page) {
  const wrong = [];
  page.on("console", (message) => {
    // The browser asks for an icon by itself; these pages have none.
    if (message.location().url.endsWith("/favicon.ico")) return;
    if (["error", "warning"].includes(message.type())) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  return wrong;
}
