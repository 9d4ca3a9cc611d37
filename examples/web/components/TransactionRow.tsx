"use client";

import type { Prediction } from "@scale-fl/web";
import { memo } from "react";

import { Bar } from "@/components/Bar";
import type { Transaction } from "@/lib/csv/transactions";
import { category, percent } from "@/lib/format";
import { UNSURE_BELOW } from "@/scale/useTransactions";

interface Props {
  transaction: Transaction;
  prediction: Prediction | undefined;
  /** What the model said before the last round, if it was another model. */
  before: string | undefined;
  /** The person's own category. */
  label: string | undefined;
  categories: readonly string[];
  correct(transaction: Transaction, label: string | null): Promise<void>;
}

export const TransactionRow = memo(function TransactionRow({ transaction, prediction, before, label, categories, correct }: Props) {
  const { description, date, amount, currency } = transaction;
  const first = prediction?.top[0];
  const unsure = first !== undefined && first.probability < UNSURE_BELOW && !label;
  const changed = first && before && before !== first.label;
  return (
    <li className={`row ${label ? "taught" : ""} ${unsure ? "unsure" : ""}`}>
      <p className="what">
        <span className="name">{description}</span>
        <span className="quiet">
          <time dateTime={date}>{date}</time>
          {label && <span className="tag mine">yours</span>}
          {unsure && <span className="tag warn">unsure</span>}
          {changed && <span className="tag">was {category(before)}</span>}
        </span>
      </p>
      <p className={`amount ${amount.startsWith("-") ? "" : "in"}`}>
        {amount.replace("-", "\u2212")} <small>{currency}</small>
      </p>
      <select
        aria-label={`Category of ${description}`}
        value={label ?? ""}
        onChange={(event) => correct(transaction, event.target.value || null)}
      >
        <option value="">{first ? `${category(first.label)} (predicted)` : "not predicted yet"}</option>
        <optgroup label="You say">
          {categories.map((name) => (
            <option key={name} value={name}>
              {category(name)}
            </option>
          ))}
        </optgroup>
      </select>
      {prediction && first && (
        <details className="guess">
          <summary>
            <Bar share={first.probability} />
            <span className="share">{percent(first.probability)}</span>
            <span className="hidden">sure of {category(first.label)}; the three best guesses</span>
          </summary>
          <ol>
            {prediction.top.map((guess) => (
              <li key={guess.label}>
                <span>{category(guess.label)}</span>
                <Bar share={guess.probability} />
                <span className="share">{percent(guess.probability)}</span>
              </li>
            ))}
          </ol>
        </details>
      )}
    </li>
  );
});
