import type { Epsilons } from "@scale-fl/web";

import { epsilon } from "@/lib/format";

/** The most that is revealed: to those who see only the sum, and to those who see this device's upload. */
export function EpsilonPair({ value: { aggregate, local, example } }: { value: Epsilons }) {
  if (aggregate === "no_bound" && local === "no_bound") {
    return example === "no_bound" ? <>no bound</> : <>{epsilon(example)} <small>for one example; no bound for you as a person</small></>;
  }
  return (
    <>
      {epsilon(aggregate)} <small>from the sum</small>, {epsilon(local)} <small>from your upload alone</small>
    </>
  );
}
