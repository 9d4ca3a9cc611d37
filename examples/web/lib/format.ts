import type { Epsilon } from "@scale-fl/web";

// How figures are written. The page is in English, whatever the browser's language.

const percentage = new Intl.NumberFormat("en", { style: "percent" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const calendar = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });

/** `0.834` is `83%`; never 100% for what is only nearly so. */
export function percent(share: number): string {
  return percentage.format(share < 1 ? Math.min(share, 0.99) : share);
}

export function epsilon(value: Epsilon): string {
  if (value === "no_bound") return "no bound";
  if (value === 0) return "0";
  // Rounded up: an upper bound must not look smaller than it is.
  return (Math.ceil(value * 100) / 100).toFixed(2);
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} bytes`;
  return count < 1_000_000 ? `${(count / 1000).toFixed(0)} kB` : `${(count / 1_000_000).toFixed(2)} MB`;
}

export function timeOfDay(ms: number): string {
  return clock.format(ms);
}

export function day(ms: number): string {
  return calendar.format(ms);
}

/** At most `1 h 5 min`, `3 min` or `20 s`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `personal_care` is `personal care`. */
export function category(label: string): string {
  return label.replaceAll("_", " ");
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
