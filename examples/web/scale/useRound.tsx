"use client";

import type { Receipt, ScaleClient } from "@scale-fl/web";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";

import { isAbort, type Trouble, troubleOf } from "@/lib/trouble";
import { after, NOTHING_YET, type Round } from "@/scale/progress";
import { useScale } from "@/scale/useScale";
import { type Predictions, useTransactions } from "@/scale/useTransactions";

// Takes part in one round, however often the SDK has to come back for it, and then gets the model that came of it.

export type State =
  | { is: "idle" }
  | { is: "running" }
  /** Not now: the SDK says when, and why. */
  | { is: "waiting"; until: number; why: string }
  /** The update is sent; the sum of all is not a model yet. */
  | { is: "publishing" }
  | { is: "done"; receipt: Receipt | null; newModel: boolean }
  | { is: "stopped" }
  | { is: "left"; why: string; until: number }
  | { is: "failed"; trouble: Trouble };

interface RoundOfPage {
  state: State;
  busy: boolean;
  round: Round | null;
  /** What the model said before the round. */
  before: Predictions | null;
  help(even?: { ifConditionsAreMissing: boolean }): void;
  stop(): void;
}

/** How often, and how long, the new model is asked for. */
const ASK_MS = 2_000;
const ASK_AT_MOST_MS = 90_000;
/** A service that wants enrollment again at once will want it for ever. */
const ENROLLMENTS = 2;

const Context = createContext<RoundOfPage | null>(null);

export function useRound(): RoundOfPage {
  const round = useContext(Context);
  if (!round) throw new Error("useRound is for components inside of RoundProvider");
  return round;
}

export function RoundProvider({ children }: { children: ReactNode }) {
  const { client, enroll } = useScale();
  const { predictions } = useTransactions();
  const [state, setState] = useState<State>({ is: "idle" });
  const [round, setRound] = useState<Round | null>(null);
  const [before, setBefore] = useState<Predictions | null>(null);
  const running = useRef<AbortController | null>(null);

  // Another client, or none any more: the round of the last one is over.
  useEffect(() => () => running.current?.abort(), [client]);

  const takePart = useCallback(
    async (client: ScaleClient, signal: AbortSignal, ignoreConditions: boolean): Promise<State> => {
      for (let enrollments = 0; ; ) {
        setState({ is: "running" });
        const onProgress = (progress: Parameters<typeof after>[1]) =>
          setRound((last) => after(last ?? NOTHING_YET, progress));
        const outcome = await client.participate({ signal, ignoreConditions, onProgress });
        switch (outcome.kind) {
          case "contributed": {
            setState({ is: "publishing" });
            const newModel = await newerModel(client, signal);
            return { is: "done", receipt: outcome.receipt, newModel };
          }
          case "paused":
            setState({ is: "waiting", until: Date.now() + outcome.resumeAfterMs, why: "The others are not as far yet" });
            await sleep(outcome.resumeAfterMs, signal);
            break;
          case "waited":
            setState({ is: "waiting", until: outcome.until, why: outcome.sentence });
            await sleep(outcome.until - Date.now(), signal);
            break;
          case "enrollment_needed":
            if (++enrollments > ENROLLMENTS) return { is: "left", why: outcome.sentence, until: Date.now() };
            await enroll(signal);
            break;
          case "left":
            if (outcome.code === "cancelled") return { is: "stopped" };
            return { is: "left", why: outcome.sentence, until: outcome.until };
        }
      }
    },
    [enroll],
  );

  const help = useCallback<RoundOfPage["help"]>(
    (even) => {
      if (!client) return;
      running.current?.abort();
      const own = new AbortController();
      running.current = own;
      setRound(NOTHING_YET);
      setBefore(predictions);
      const end = (state: State) => {
        if (running.current !== own) return;
        running.current = null;
        setState(state);
      };
      takePart(client, own.signal, even?.ifConditionsAreMissing ?? false).then(end, (error) =>
        end(isAbort(error) ? { is: "stopped" } : { is: "failed", trouble: troubleOf(error) }),
      );
    },
    [client, predictions, takePart],
  );

  const stop = useCallback(() => running.current?.abort(), []);

  const value = useMemo<RoundOfPage>(() => {
    const busy = state.is === "running" || state.is === "waiting" || state.is === "publishing";
    return { state, busy, round, before, help, stop };
  }, [state, round, before, help, stop]);
  return <Context value={value}>{children}</Context>;
}

/** Asks until the coordinator has published what came of the round. */
async function newerModel(client: ScaleClient, signal: AbortSignal): Promise<boolean> {
  const end = Date.now() + ASK_AT_MOST_MS;
  do {
    // A failure of the network is no reason to give up: the contribution is made.
    const model = await client.refreshModel({ signal }).catch((error) => {
      if (isAbort(error)) throw error;
      return null;
    });
    if (model) return true;
    await sleep(ASK_MS, signal);
  } while (Date.now() < end);
  return false;
}

/** Rejects with an AbortError when the signal says so. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    // Browsers' timers end at once if they are to run longer than 24 days.
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, Math.min(Math.max(ms, 0), 86_400_000));
    signal.addEventListener("abort", stop, { once: true });
  });
}
