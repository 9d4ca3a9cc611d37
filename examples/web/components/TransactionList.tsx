"use client";

import { useState } from "react";

import { Notice } from "@/components/Notice";
import { TransactionRow } from "@/components/TransactionRow";
import { count } from "@/lib/format";
import { troubleOf } from "@/lib/trouble";
import { useRound } from "@/scale/useRound";
import { useScale } from "@/scale/useScale";
import { UNSURE_BELOW, useTransactions } from "@/scale/useTransactions";

const PAGE = 50;

const SHOW = { all: "All", unsure: "Unsure", taught: "Yours" } as const;
type Show = keyof typeof SHOW;

export function TransactionList() {
  const { status } = useScale();
  const { rows, labels, predictions, failed, correct, clear } = useTransactions();
  const { before } = useRound();
  const [show, setShow] = useState<Show>("all");
  const [pages, setPages] = useState(1);

  const unsure = (id: string) => (predictions?.of.get(id)?.top[0]?.probability ?? 1) < UNSURE_BELOW && !labels.has(id);
  const wanted: Record<Show, (id: string) => boolean> = { all: () => true, unsure, taught: (id) => labels.has(id) };
  const counts = Object.fromEntries(
    Object.entries(wanted).map(([name, wants]) => [name, rows.filter((row) => wants(row.id)).length]),
  ) as Record<Show, number>;
  const shown = rows.filter((row) => wanted[show](row.id));
  const categories = status?.model?.labels ?? [];

  return (
    <section className="card" aria-labelledby="list-title">
      <div className="head">
        <h2 id="list-title">Categories</h2>
        {rows.length > 0 && (
          <button type="button" className="plain" onClick={clear}>
            Clear the list
          </button>
        )}
        {rows.length > 0 && (
          <fieldset className="filter">
            <legend className="hidden">Show</legend>
            {(Object.keys(SHOW) as Show[]).map((name) => (
              <label key={name}>
                <input type="radio" name="show" checked={show === name} onChange={() => { setShow(name); setPages(1); }} />
                <span>
                  {SHOW[name]} <small>{counts[name]}</small>
                </span>
              </label>
            ))}
          </fieldset>
        )}
      </div>
      {failed !== null && <Notice trouble={troubleOf(failed)} />}
      {rows.length === 0 && <p className="quiet empty">Nothing is imported yet. Begin with a file, or with the sample.</p>}
      {rows.length > 0 && shown.length === 0 && <p className="quiet empty">None of them.</p>}
      <ul className="rows" aria-label="Transactions">
        {shown.slice(0, pages * PAGE).map((row) => (
          <TransactionRow
            key={row.id}
            transaction={row}
            prediction={predictions?.of.get(row.id)}
            before={before && before.version !== predictions?.version ? before.of.get(row.id)?.top[0]?.label : undefined}
            label={labels.get(row.id)}
            categories={categories}
            correct={correct}
          />
        ))}
      </ul>
      {shown.length > pages * PAGE && (
        <button type="button" className="more" onClick={() => setPages(pages + 1)}>
          Show {Math.min(PAGE, shown.length - pages * PAGE)} more of {count(shown.length, "transaction")}
        </button>
      )}
    </section>
  );
}
