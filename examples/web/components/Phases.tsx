import type { Phase } from "@scale-fl/web";

import type { Round } from "@/scale/progress";

const PHASES: readonly (readonly [Phase, string])[] = [
  ["checking_in", "Ask for a round"],
  ["downloading", "Download the model"],
  ["training", "Train on this device"],
  ["keys", "Wait for other devices"],
  ["shares", "Set up the masks"],
  ["uploading", "Send the masked update"],
  ["agreeing", "Agree on who is in the sum"],
  ["unmasking", "Remove the masks from the sum"],
];

export function Phases({ round, over }: { round: Round; over: boolean }) {
  const at = over || round.phase === "over" ? PHASES.length : PHASES.findIndex(([phase]) => phase === round.phase);
  return (
    <ol className="phases" aria-label="Phases of the round">
      {PHASES.map(([phase, name], place) => {
        const state = place < at ? "done" : place === at ? "current" : "next";
        return (
          <li key={phase} className={state} aria-current={state === "current" ? "step" : undefined}>
            {name}
            {state === "done" && <span className="hidden">, done</span>}
          </li>
        );
      })}
    </ol>
  );
}
