interface Props {
  /** From 0 to 1. */
  share: number;
  className?: string;
  /** What it measures, and the number in words. Without it, the number stands beside the bar. */
  meter?: { name: string; text: string };
}

/** A share as a bar, the same in every browser. */
export function Bar({ share, className = "", meter }: Props) {
  const inside = Math.min(Math.max(share, 0), 1);
  const role = meter
    ? { role: "meter", "aria-label": meter.name, "aria-valuenow": Math.round(inside * 100), "aria-valuetext": meter.text }
    : { "aria-hidden": true };
  return (
    <svg className={`bar ${className}`} viewBox="0 0 100 4" preserveAspectRatio="none" {...role}>
      <rect className="track" width="100" height="4" />
      <rect className="fill" width={inside * 100} height="4" />
    </svg>
  );
}
