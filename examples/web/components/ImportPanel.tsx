"use client";

import { type DragEvent, useRef, useState } from "react";

import { count } from "@/lib/format";
import { type LineProblem, readTransactions, UnreadableFile } from "@/lib/csv/transactions";
import { troubleOf } from "@/lib/trouble";
import { useScale } from "@/scale/useScale";
import { useTransactions } from "@/scale/useTransactions";

interface Result {
  sentence: string;
  bad: boolean;
  refused: LineProblem[];
  unknown: LineProblem[];
}

/** A statement of some thousand lines; the REST import takes larger ones. */
const MAX_BYTES = 8 << 20;

export function ImportPanel() {
  const { status } = useScale();
  const { add, rows } = useTransactions();
  const [result, setResult] = useState<Result | null>(null);
  const [over, setOver] = useState(false);
  const file = useRef<HTMLInputElement>(null);
  const labels = status?.model?.labels;

  const take = async (name: string, bytes: Promise<ArrayBuffer>) => {
    if (!labels) return;
    const fail = (why: string) => setResult({ sentence: `${name}: ${why}`, bad: true, refused: [], unknown: [] });
    try {
      const { transactions, refused, unknown } = await readTransactions(await bytes, labels, new Date());
      const { added, examples } = await add(transactions);
      const known = transactions.length - added;
      const parts = [`${count(added, "transaction")} imported from ${name}`];
      if (known > 0) parts.push(`${known} were here already`);
      if (examples > 0) parts.push(`${count(examples, "row")} with a category became ${examples === 1 ? "an example" : "examples"}`);
      setResult({ sentence: `${parts.join("; ")}.`, bad: added === 0 && refused.length > 0, refused, unknown });
    } catch (error) {
      fail(error instanceof UnreadableFile ? error.message : `${troubleOf(error).what} ${troubleOf(error).todo}`);
    }
  };
  const takeFile = (chosen: File | null | undefined) => {
    if (!chosen) return;
    if (chosen.size <= MAX_BYTES) return void take(chosen.name, chosen.arrayBuffer());
    setResult({ sentence: `${chosen.name}: larger than 8 MB; import it in parts`, bad: true, refused: [], unknown: [] });
  };
  const takeSample = () =>
    take(
      "the sample",
      fetch("/sample.csv").then((answer) => {
        if (answer.ok) return answer.arrayBuffer();
        throw new UnreadableFile(`the server answered ${answer.status}`);
      }),
    );
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    takeFile(event.dataTransfer.files.item(0));
  };

  return (
    <section
      className={`card import ${over ? "over" : ""}`}
      aria-labelledby="import-title"
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <h2 id="import-title">Import</h2>
      {rows.length === 0 && (
        <p className="quiet">Drop a bank's CSV file here, or choose one. It is read in this browser and sent nowhere.</p>
      )}
      <div className="buttons">
        <button type="button" disabled={!labels} onClick={() => file.current?.click()}>
          Choose a file …
        </button>
        <button type="button" disabled={!labels} onClick={takeSample}>
          Use the sample
        </button>
      </div>
      <input
        ref={file}
        type="file"
        accept=".csv,text/csv"
        aria-label="CSV file"
        className="hidden"
        tabIndex={-1}
        onChange={(event) => {
          takeFile(event.target.files?.item(0));
          // The same file may be chosen again once it is corrected.
          event.target.value = "";
        }}
      />
      {!labels && <p className="quiet">This waits for the model, which knows the categories.</p>}
      <div role="status" aria-label="Import">
        {result && <p className={result.bad ? "said bad" : "said"}>{result.sentence}</p>}
        {result && <Problems title="not imported" problems={result.refused} />}
        {result && <Problems title="only predicted" problems={result.unknown} />}
      </div>
    </section>
  );
}

const SHOWN = 20;

function Problems({ title, problems }: { title: string; problems: LineProblem[] }) {
  if (problems.length === 0) return null;
  return (
    <details className="problems" open={problems.length < 5}>
      <summary>
        {count(problems.length, "line")} {title}
      </summary>
      <ul>
        {problems.slice(0, SHOWN).map(({ line, problem }) => (
          <li key={line}>
            line {line}: {problem}
          </li>
        ))}
        {problems.length > SHOWN && <li>and {problems.length - SHOWN} more</li>}
      </ul>
    </details>
  );
}
