import type { Epsilons, Phase, Progress } from "@scale-fl/web";

/** What is known of the running round, or of the last one. */
export interface Round {
  phase: Phase;
  /** Overall, in thousandths. */
  permille: number;
  sentence: string;
  step: { done: number; of: number };
  /** By step, from 1; empty where the device keeps the loss to itself. */
  losses: readonly { step: number; loss: number }[];
  /** Steps were reported without their loss. */
  lossIsKept: boolean;
  paid: { round: Epsilons; total: Epsilons } | null;
  sent: { bytes: number; of: number } | null;
}

export const NOTHING_YET: Round = {
  phase: "checking_in",
  permille: 0,
  sentence: "",
  step: { done: 0, of: 0 },
  losses: [],
  lossIsKept: false,
  paid: null,
  sent: null,
};

export function after(round: Round, { phase, permille, sentence, event }: Progress): Round {
  const next = { ...round, phase, permille, sentence };
  switch (event.kind) {
    case "step":
      next.step = { done: event.step, of: event.of };
      if (event.loss === null) next.lossIsKept = true;
      // A round that was paused while it trained begins its steps again.
      else next.losses = [...round.losses.filter(({ step }) => step < event.step), { step: event.step, loss: event.loss }];
      break;
    case "paid":
      next.paid = { round: event.round, total: event.total };
      break;
    case "uploaded":
      next.sent = { bytes: event.bytes, of: event.of };
      break;
  }
  return next;
}
