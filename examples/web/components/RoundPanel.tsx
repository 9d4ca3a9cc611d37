"use client";

import Link from "next/link";
import { useEffect, useRef } from "react";

import { Notice } from "@/components/Notice";
import { Phases } from "@/components/Phases";
import { RoundEnd } from "@/components/RoundEnd";
import { RoundFigures } from "@/components/RoundFigures";
import { Waiting } from "@/components/Waiting";
import { ledgerIsLocked } from "@/lib/trouble";
import type { Round } from "@/scale/progress";
import { type State, useRound } from "@/scale/useRound";
import { useScale } from "@/scale/useScale";

export function RoundPanel() {
  const { client, status } = useScale();
  const { state, busy, round, help, stop } = useRound();
  const start = useRef<HTMLButtonElement>(null);
  const end = useRef<HTMLButtonElement>(null);
  const wasBusy = useRef(false);

  // The button that was pressed is gone: the focus moves to the one in its place.
  useEffect(() => {
    if (busy === wasBusy.current) return;
    wasBusy.current = busy;
    const lost = document.activeElement === document.body || document.activeElement === null;
    if (lost) (busy ? end : start).current?.focus();
  }, [busy]);

  const moving = round && (state.is === "running" || state.is === "publishing");
  const nothing = status?.examples.total === 0;
  return (
    <section className="card round" aria-labelledby="round-title">
      <h2 id="round-title">Help the model</h2>
      <p className="quiet">
        Your browser trains on your corrections and sends an update that only makes sense when added to those of many
        others.
      </p>
      <p role="status" aria-label="Round" className={busy ? "now" : "hidden"}>
        {sentenceOf(state, round)}
      </p>
      {moving && <progress max={1000} value={round.permille} aria-label="Progress of the round" />}
      {busy ? (
        <button key="stop" ref={end} type="button" className="stop" onClick={stop}>
          Stop
        </button>
      ) : (
        <button key="help" ref={start} type="button" className="primary" disabled={!client || !status?.model || nothing} onClick={() => help()}>
          {state.is === "done" ? "Help again" : "Help the model"}
        </button>
      )}
      {nothing && !busy && <p className="quiet">There is nothing to learn from yet: correct a transaction first.</p>}
      {state.is === "waiting" && <Waiting until={state.until} why={state.why} />}
      {state.is === "failed" && (
        <Notice trouble={state.trouble}>
          {ledgerIsLocked(state.trouble) && <Link href="/privacy" prefetch={false}>To the privacy page</Link>}
        </Notice>
      )}
      <RoundEnd state={state} />
      {moving && <Phases round={round} over={state.is === "publishing"} />}
      {round && <RoundFigures round={round} />}
    </section>
  );
}

/** Read out whenever it changes, so it names phases and no numbers. */
function sentenceOf(state: State, round: Round | null): string {
  switch (state.is) {
    case "running":
      return round?.sentence || "Getting ready";
    case "publishing":
      return "Sent; waiting for the new model";
    case "waiting":
      return "Waiting";
    case "done":
      return "The round is over";
    case "stopped":
      return "Stopped";
    default:
      return "";
  }
}
