"use client";

import { useSyncExternalStore } from "react";

import { Notice } from "@/components/Notice";
import { count, day } from "@/lib/format";
import { useScale } from "@/scale/useScale";

/** What holds now: network, storage, conditions, enrollment, model. */
export function StatusBar() {
  const { status, stage, trouble, retry } = useScale();
  const online = useSyncExternalStore(watchNetwork, () => navigator.onLine, () => true);
  const missing = status?.missing.filter(({ code }) => code !== "online") ?? [];
  return (
    <section className="status" aria-label="Status">
      <div className="inside">
        <ul>
          <li className={online ? "good" : "warn"}>{online ? "Online" : "Offline"}</li>
          {status && (
            <>
              <li className={status.model ? "good" : ""}>{status.model ? `Model version ${status.model.version}` : "No model yet"}</li>
              <li className={status.enrolled ? "good" : ""}>{enrollment(status.enrolled, status.enrollmentEnds)}</li>
              <li className={status.storage === "persistent" ? "good" : ""}>
                {status.storage === "persistent" ? "Storage: persistent" : "Storage: best effort"}
              </li>
              <li>{count(status.examples.total, "example")} kept here</li>
              {missing.map(({ code, sentence }) => (
                <li key={code} className="warn">
                  {sentence}
                </li>
              ))}
            </>
          )}
        </ul>
        {!trouble && (stage === "starting" || stage === "connecting") && !status?.model && (
          <p role="status" className="quiet">
            Getting the model ready …
          </p>
        )}
        {trouble && (
          <Notice trouble={trouble}>
            <button type="button" onClick={retry}>
              Try again
            </button>
          </Notice>
        )}
        {stage === "deleted" && (
          <div className="notice" role="status">
            <p>
              <strong>Everything is deleted:</strong> examples, model, enrollment and privacy record.
            </p>
            <button type="button" onClick={retry}>
              Start again
            </button>
          </div>
        )}
      </div>
    </section>
  );
}

function enrollment(enrolled: boolean, ends: number | null): string {
  if (!enrolled) return "Not enrolled";
  return ends ? `Enrolled until ${day(ends)}` : "Enrolled";
}

function watchNetwork(changed: () => void): () => void {
  addEventListener("online", changed);
  addEventListener("offline", changed);
  return () => {
    removeEventListener("online", changed);
    removeEventListener("offline", changed);
  };
}
