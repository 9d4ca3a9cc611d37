// Folders of browsers.

import { rmSync } from "node:fs";

// Removes a browser's folder. Its last processes may still write for a moment after it has ended: what they add in the middle
// of removing is removed with the next try.
export async function removeProfile(folder) {
  for (let tries = 40; ; tries--) {
    try {
      rmSync(folder, { recursive: true, force: true });
      return;
    } catch (error) {
      if (tries === 0 || error.code !== "ENOTEMPTY") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
