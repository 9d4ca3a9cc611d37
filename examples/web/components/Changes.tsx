"use client";

import { category, count, percent } from "@/lib/format";
import { useRound } from "@/scale/useRound";
import { useTransactions } from "@/scale/useTransactions";

const SHOWN = 8;

/** What the model that came of the round says otherwise than the one before it. */
export function Changes() {
  const { state, before } = useRound();
  const { rows, labels, predictions } = useTransactions();
  if (state.is !== "done" || !before || !predictions || predictions.version === before.version) return null;

  const changed = rows.flatMap((row) => {
    const [was, is] = [before.of.get(row.id)?.top[0], predictions.of.get(row.id)?.top[0]];
    return was && is && was.label !== is.label ? [{ row, was, is }] : [];
  });
  const agrees = (said: typeof before) =>
    [...labels].filter(([id, label]) => said.of.get(id)?.top[0]?.label === label).length;
  return (
    <section className="card changes" aria-labelledby="changes-title">
      <h2 id="changes-title">
        Model version {before.version} <span aria-label="became">→</span> {predictions.version}
      </h2>
      <p>
        {changed.length === 0
          ? "It sorts all of your transactions as the one before it did."
          : `It sorts ${changed.length} of ${count(rows.length, "transaction")} otherwise than the one before it.`}
        {labels.size > 0 && ` Of the ${labels.size} that you sorted yourself, it now agrees with ${agrees(predictions)} (before: ${agrees(before)}).`}
      </p>
      {changed.length > 0 && (
        <ul aria-label="Changed predictions">
          {changed.slice(0, SHOWN).map(({ row, was, is }) => (
            <li key={row.id}>
              <span className="name">{row.description}</span>
              <span className="move">
                <s>{category(was.label)}</s> <span aria-label="is now">→</span> <b>{category(is.label)}</b>{" "}
                <small>{percent(is.probability)}</small>
              </span>
            </li>
          ))}
        </ul>
      )}
      {changed.length > SHOWN && <p className="quiet">and {changed.length - SHOWN} more, marked in the list below</p>}
    </section>
  );
}
