// Dates as banks write them. Which number is the day is decided once for the whole column.

export type DateOrder = "ymd" | "dmy" | "mdy";

interface Written {
  numbers: [number, number, number];
  yearFirst: boolean;
  dotted: boolean;
}

function written(text: string): Written | null {
  // A time of day behind the date is passed over: the day is the bank's.
  const [date = "", time = ""] = text.split(/[T ,](.*)/s);
  if (time.trim() && !/^\d{1,2}:\d{2}/.test(time.trim())) return null;
  const found =
    /^(\d{4})(\d{2})(\d{2})$/.exec(date) ??
    /^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})$/.exec(date) ??
    /^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})$/.exec(date);
  if (!found) return null;
  const numbers = found.slice(1, 4).map(Number) as Written["numbers"];
  return { numbers, yearFirst: found[1]?.length === 4, dotted: date.includes(".") };
}

/** What the whole column says. */
export function dateOrder(column: readonly { line: number; text: string }[]): DateOrder {
  let dayFirst = 0;
  let monthFirst = 0;
  let either = 0;
  for (const { line, text } of column) {
    const read = written(text);
    if (!read || read.yearFirst) continue;
    const [a, b] = read.numbers;
    // Nobody writes points between month and day.
    if ((read.dotted || a > 12) && b <= 12) dayFirst ||= line;
    else if (b > 12 && a <= 12) monthFirst ||= line;
    else if (a !== b) either ||= line;
  }
  if (dayFirst && monthFirst) {
    throw new Error(`dates have the day first in line ${dayFirst} and the month first in line ${monthFirst}; correct one of them`);
  }
  if (either && !dayFirst && !monthFirst) {
    throw new Error(`line ${either}: the date may have the day or the month first; write it as 2026-12-31`);
  }
  return monthFirst ? "mdy" : "dmy";
}

/** As `2026-12-31`; null: not a date of the calendar in this order. */
export function date(text: string, order: DateOrder, thisYear: number): string | null {
  const read = written(text);
  if (!read) return null;
  const [a, b, c] = read.numbers;
  const [y, month, day] = read.yearFirst ? [a, b, c] : order === "mdy" ? [c, a, b] : [c, b, a];
  const year = y >= 100 ? y : 2000 + y <= thisYear + 1 ? 2000 + y : 1900 + y;
  const iso = `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
  // The calendar moves the 30th of February to March.
  const moved = new Date(`${iso}T00:00:00Z`);
  return !Number.isNaN(moved.getTime()) && moved.toISOString().startsWith(iso) ? iso : null;
}

export const SHOWN: Record<DateOrder, string> = {
  ymd: "2026-12-31",
  dmy: "31.12.2026, 31/12/2026 or 2026-12-31",
  mdy: "12/31/2026 or 2026-12-31",
};
