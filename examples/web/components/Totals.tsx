import type { Epsilon, PrivacyReport } from "@scale-fl/web";

import { Bar } from "@/components/Bar";
import { epsilon } from "@/lib/format";

/** From this share of a limit on, the bar warns. */
const NEAR = 0.8;

/** What all rounds cost together, beside the most that this device allows. */
export function Totals({ report: { lifetime, lifetimeLimit, period, periodLimit, refillsDate, delta } }: { report: PrivacyReport }) {
  const kinds = [
    { kind: "aggregate", who: "Those who see only sums" },
    { kind: "local", who: "Those who see your uploads" },
    { kind: "example", who: "About one of your examples" },
  ] as const;
  const shown = kinds.filter(({ kind }) => kind !== "example" || isNumber(lifetimeLimit.example) || isNumber(lifetime.example));
  return (
    <section className="card" aria-labelledby="totals-title">
      <h2 id="totals-title">Spent, and the most that may be spent</h2>
      <div className="totals">
        {shown.map(({ kind, who }) => (
          <div key={kind}>
            <h3>{who}</h3>
            <Budget name={`In all, ${who}`} label="in all" value={lifetime[kind]} limit={lifetimeLimit[kind]} />
            <Budget name={`In this period, ${who}`} label={`until ${refillsDate}`} value={period[kind]} limit={periodLimit[kind]} />
          </div>
        ))}
      </div>
      <p className="quiet">Epsilon, at delta {delta.toExponential()}. Smaller is more private; above the limit this device refuses a round.</p>
    </section>
  );
}

function Budget({ name, label, value, limit }: { name: string; label: string; value: Epsilon; limit: Epsilon }) {
  // Noise that protects single examples does not count against a person's limit, and bounds nothing for a person.
  const text = `${epsilon(value)}${isNumber(limit) ? `${isNumber(value) ? " of" : "; limit"} ${epsilon(limit)}` : "; no limit"}`;
  return (
    <div className="budget">
      <p>
        <span>{label}</span> <span>{text}</span>
      </p>
      {isNumber(limit) && limit > 0 && isNumber(value) && (
        <Bar share={value / limit} className={value > limit * NEAR ? "near" : ""} meter={{ name, text }} />
      )}
    </div>
  );
}

function isNumber(value: Epsilon): value is number {
  return value !== "no_bound";
}
