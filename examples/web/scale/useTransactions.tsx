"use client";

import type { Prediction } from "@scale-fl/web";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";

import type { Transaction } from "@/lib/csv/transactions";
import { useScale } from "@/scale/useScale";

// The transactions of this tab, what the model says of them, and what the person says. They are kept in memory only;
// what the person says is also given to the SDK, which keeps it sealed as an example to learn from.

/** What one version of the model says, by the transactions' ids. */
export interface Predictions {
  version: number;
  of: ReadonlyMap<string, Prediction>;
}

interface Transactions {
  rows: readonly Transaction[];
  /** By id: categories from the file or from the person. */
  labels: ReadonlyMap<string, string>;
  predictions: Predictions | null;
  /** What of predicting or storing failed last. */
  failed: unknown;
  /** Adds those that are new. Those with a category become examples at once. */
  add(transactions: readonly Transaction[]): Promise<{ added: number; examples: number }>;
  /** A category, or null: as predicted. */
  correct(transaction: Transaction, label: string | null): Promise<void>;
  /** After the examples were deleted. */
  forgetLabels(): void;
  clear(): void;
}

/** Of each transaction; the person sees the others on demand. */
const TOP = 3;

/** Below this probability, the model's first guess is marked. */
export const UNSURE_BELOW = 0.6;

const Context = createContext<Transactions | null>(null);

export function useTransactions(): Transactions {
  const transactions = useContext(Context);
  if (!transactions) throw new Error("useTransactions is for components inside of TransactionsProvider");
  return transactions;
}

export function TransactionsProvider({ children }: { children: ReactNode }) {
  const { client, status } = useScale();
  const [rows, setRows] = useState<readonly Transaction[]>([]);
  const [labels, setLabels] = useState<ReadonlyMap<string, string>>(new Map());
  const [predictions, setPredictions] = useState<Predictions | null>(null);
  const [failed, setFailed] = useState<unknown>(null);
  const storing = useRef<Promise<void>>(Promise.resolve());
  const version = status?.model?.version;

  // Anew whenever there are other rows or another model.
  useEffect(() => {
    if (!client || version === undefined || rows.length === 0) return;
    let late = false;
    const predict = async () => {
      const said = await client.predict(rows.map((row) => row.description), { top: TOP });
      if (late) return;
      const pairs = rows.flatMap((row, at) => (said[at] ? [[row.id, said[at]] as const] : []));
      setPredictions({ version, of: new Map(pairs) });
      setFailed(null);
    };
    predict().catch((error) => !late && setFailed(error));
    return () => {
      late = true;
    };
  }, [client, version, rows]);

  const add = useCallback<Transactions["add"]>(
    async (transactions) => {
      const known = new Set(rows.map((row) => row.id));
      const fresh = transactions.filter((row) => !known.has(row.id));
      const taught = transactions.flatMap(({ id, description, category }) =>
        category ? [{ id, text: description, label: category }] : [],
      );
      if (taught.length > 0) await client?.put(taught);
      setLabels((old) => new Map([...old, ...taught.map(({ id, label }) => [id, label] as const)]));
      if (fresh.length > 0) setRows([...rows, ...fresh].sort((a, b) => (a.date < b.date ? 1 : a.date > b.date ? -1 : 0)));
      return { added: fresh.length, examples: taught.length };
    },
    [client, rows],
  );

  const correct = useCallback<Transactions["correct"]>(
    async ({ id, description }, label) => {
      const set = (label: string | null | undefined) =>
        setLabels((old) => {
          const next = new Map(old);
          if (label) next.set(id, label);
          else next.delete(id);
          return next;
        });
      // Shown at once, and stored in the order of the choices: letters choose one entry of a list after another.
      const before = labels.get(id);
      set(label);
      const store = async () => {
        if (label) await client?.put([{ id, text: description, label }]);
        else await client?.remove([id]);
      };
      storing.current = storing.current.then(store).catch((error) => {
        setFailed(error);
        set(before);
      });
      await storing.current;
    },
    [client, labels],
  );

  const forgetLabels = useCallback(() => setLabels(new Map()), []);

  const clear = useCallback(() => {
    setRows([]);
    setLabels(new Map());
    setPredictions(null);
  }, []);

  const transactions = useMemo<Transactions>(
    () => ({ rows, labels, predictions, failed, add, correct, forgetLabels, clear }),
    [rows, labels, predictions, failed, add, correct, forgetLabels, clear],
  );
  return <Context value={transactions}>{children}</Context>;
}
