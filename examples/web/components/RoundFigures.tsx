import { EpsilonPair } from "@/components/EpsilonPair";
import { LossChart } from "@/components/LossChart";
import { bytes } from "@/lib/format";
import type { Round } from "@/scale/progress";

/** What a round has done so far: steps, loss, bytes, and what it costs in privacy. */
export function RoundFigures({ round: { step, losses, lossIsKept, paid, sent } }: { round: Round }) {
  return (
    <>
      {losses.length > 0 && <LossChart losses={losses} of={step.of} />}
      {lossIsKept && (
        <figure className="chart">
          <figcaption>
            Step {step.done} of {step.of}
          </figcaption>
          <progress max={step.of} value={step.done} aria-label="Training steps" />
          <p className="quiet">The loss stays on this device: it would be told without noise.</p>
        </figure>
      )}
      {(sent || paid) && (
        <dl className="figures">
          {sent && (
            <div>
              <dt>Sent</dt>
              <dd>
                {bytes(sent.bytes)} <small>of {bytes(sent.of)}</small>
              </dd>
            </div>
          )}
          {paid && (
            <>
              <div>
                <dt>Epsilon of this round</dt>
                <dd>
                  <EpsilonPair value={paid.round} />
                </dd>
              </div>
              <div>
                <dt>Epsilon of all so far</dt>
                <dd>
                  <EpsilonPair value={paid.total} />
                </dd>
              </div>
            </>
          )}
        </dl>
      )}
    </>
  );
}
