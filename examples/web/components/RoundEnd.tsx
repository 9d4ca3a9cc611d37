import Link from "next/link";

import { sentence } from "@/components/Notice";
import { timeOfDay } from "@/lib/format";
import type { State } from "@/scale/useRound";

/** How the round ended, in a sentence or two. */
export function RoundEnd({ state }: { state: State }) {
  switch (state.is) {
    case "done":
      return (
        <div className="notice good">
          <p>
            <strong>Thank you: your update is in the sum.</strong>{" "}
            {state.newModel ? "The model that came of it is here." : "The model that comes of it is not published yet; reload the page later."}
          </p>
          {state.receipt && <p>{state.receipt.sentence}</p>}
          <p>
            <Link href="/privacy" prefetch={false}>See the receipt</Link>
          </p>
        </div>
      );
    case "left":
      return (
        <div className="notice" role="status">
          <p>
            <strong>The round ended without your update.</strong> {sentence(state.why)}
            {state.until > Date.now() && ` You can try again at ${timeOfDay(state.until)}.`}
          </p>
        </div>
      );
    case "stopped":
      return (
        <div className="notice">
          <p>
            <strong>Stopped.</strong> If an update had been promised already, its cost stays in your privacy record.
          </p>
        </div>
      );
    default:
      return null;
  }
}
