"use client";

import type { PrivacyReport as Report } from "@scale-fl/web";
import { useCallback, useEffect, useState } from "react";

import { DeleteButtons } from "@/components/DeleteButtons";
import { LockedLedger } from "@/components/LockedLedger";
import { Notice } from "@/components/Notice";
import { Receipts } from "@/components/Receipts";
import { Totals } from "@/components/Totals";
import { ledgerIsLocked, type Trouble, troubleOf } from "@/lib/trouble";
import { useScale } from "@/scale/useScale";

export function PrivacyReport() {
  const { client, status } = useScale();
  const [report, setReport] = useState<Report | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);

  const load = useCallback(async () => {
    try {
      setReport((await client?.privacyReport()) ?? null);
      setTrouble(null);
    } catch (error) {
      setReport(null);
      setTrouble(troubleOf(error));
    }
  }, [client]);
  // Also whenever the status has changed: a round may have been paid for.
  useEffect(() => void load(), [load, status]);

  const keep = async () => {
    if (!client) return;
    const url = URL.createObjectURL(new Blob([await client.exportPrivacyReport()], { type: "application/json" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: "privacy-report.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  };

  return (
    <>
      {trouble && (ledgerIsLocked(trouble) ? <LockedLedger trouble={trouble} after={load} /> : <Notice trouble={trouble} />)}
      {!report && !trouble && <p role="status" className="quiet">Reading the privacy record …</p>}
      {report && (
        <>
          <p className="summary">{report.summary}</p>
          <Totals report={report} />
          <Receipts receipts={report.receipts} />
          <section className="card" aria-labelledby="assumptions-title">
            <h2 id="assumptions-title">What these numbers assume</h2>
            <ul className="plain-list">
              {report.assumptions.map((assumption) => (
                <li key={assumption}>{assumption}</li>
              ))}
            </ul>
          </section>
        </>
      )}
      <section className="card" aria-labelledby="data-title">
        <h2 id="data-title">Your data</h2>
        <p className="quiet">
          {status ? `${status.examples.total} examples are kept here, sealed with a key that does not leave this browser.` : ""}
        </p>
        <div className="buttons">
          <button type="button" disabled={!report} onClick={() => keep().catch((error) => setTrouble(troubleOf(error)))}>
            Export the record
          </button>
          <DeleteButtons />
        </div>
      </section>
    </>
  );
}
