import type { Protection, Receipt } from "@scale-fl/web";

import { EpsilonPair } from "@/components/EpsilonPair";

const PROTECTION: Record<Protection, string> = {
  without_noise: "secure aggregation, no noise",
  distributed: "noise of all devices together",
  local: "noise of this device",
  examples: "noise for single examples",
  damage: "unreadable record",
};

/** Every participation, the newest first. */
export function Receipts({ receipts }: { receipts: readonly Receipt[] }) {
  return (
    <section className="card" aria-labelledby="receipts-title">
      <h2 id="receipts-title">Receipts</h2>
      {receipts.length === 0 && <p className="quiet">None yet.</p>}
      <ol className="receipts" aria-label="Receipts">
        {receipts.toReversed().map((receipt) => (
          <li key={receipt.sequence}>
            <h3>
              {receipt.date ? <time dateTime={receipt.date}>{receipt.date}</time> : "Date unknown"}
              <span className="tag">{PROTECTION[receipt.protection]}</span>
            </h3>
            <p>{receipt.sentence}</p>
            <dl>
              <div>
                <dt>Epsilon</dt>
                <dd>
                  <EpsilonPair value={receipt.epsilon} />
                </dd>
              </div>
              {receipt.number !== null && (
                <div>
                  <dt>Round</dt>
                  <dd>
                    {receipt.number}
                    {receipt.participation && <small> from model version {receipt.participation.version}</small>}
                  </dd>
                </div>
              )}
              <div>
                <dt>Digest of what was sent (SHA-256)</dt>
                <dd>{receipt.sent ? <code>{receipt.sent}</code> : "nothing was sent"}</dd>
              </div>
            </dl>
          </li>
        ))}
      </ol>
    </section>
  );
}
