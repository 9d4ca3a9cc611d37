"use client";

import { useEffect, useState } from "react";

import { sentence } from "@/components/Notice";
import { duration, timeOfDay } from "@/lib/format";
import { useRound } from "@/scale/useRound";
import { useScale } from "@/scale/useScale";

/** Not now: why, and when this page tries again by itself. */
export function Waiting({ until, why }: { until: number; why: string }) {
  const { status } = useScale();
  const { help } = useRound();
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  // Nobody can take part without a network; the other conditions are the person's to waive.
  const waivable = status && status.missing.length > 0 && status.missing.every(({ code }) => code !== "online");
  return (
    <div className="notice">
      <p>
        {sentence(why)} This page tries again at <time dateTime={new Date(until).toISOString()}>{timeOfDay(until)}</time>
        {until > now ? `, in ${duration(until - now)}.` : "."} Leave it open.
      </p>
      {waivable && (
        <button type="button" onClick={() => help({ ifConditionsAreMissing: true })}>
          Take part even so
        </button>
      )}
    </div>
  );
}
