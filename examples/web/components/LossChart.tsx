import type { Round } from "@/scale/progress";

const WIDTH = 300;
const HEIGHT = 90;

/** Loss by step. The scale begins at 0, so that a small change looks small. */
export function LossChart({ losses, of }: { losses: Round["losses"]; of: number }) {
  const [first, last] = [losses[0], losses.at(-1)];
  if (!first || !last) return null;
  const top = Math.max(...losses.map(({ loss }) => loss)) || 1;
  const x = (step: number) => (of > 1 ? (((step - 1) / (of - 1)) * WIDTH).toFixed(1) : "0");
  const y = (loss: number) => (HEIGHT - (loss / top) * HEIGHT).toFixed(1);
  const curve = `M${losses.map(({ step, loss }) => `${x(step)} ${y(loss)}`).join("L")}`;
  const words = `Loss by step: from ${first.loss.toFixed(2)} to ${last.loss.toFixed(2)} in ${last.step} of ${of} steps`;
  return (
    <figure className="chart">
      <figcaption>
        Loss <b>{last.loss.toFixed(2)}</b>{" "}
        <small>
          step {last.step} of {of}, began at {first.loss.toFixed(2)}
        </small>
      </figcaption>
      <svg viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} role="img" aria-label={words} preserveAspectRatio="none">
        {[0, 0.5, 1].map((part) => (
          <line key={part} className="grid" x1="0" x2={WIDTH} y1={y(top * part)} y2={y(top * part)} />
        ))}
        <path className="area" d={`${curve}L${x(last.step)} ${HEIGHT}L${x(first.step)} ${HEIGHT}Z`} />
        {/* The line of no length makes a single step visible. */}
        <path className="curve" d={`${curve}h0`} />
      </svg>
    </figure>
  );
}
