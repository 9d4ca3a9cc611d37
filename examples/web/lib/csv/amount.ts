// Amounts as banks write them. Whether a comma or a point stands before the decimals is decided once for the file.

export type DecimalMark = "." | ",";

/** `-1.234,56 €` and `(12.00)`: the sign, and digits with what stands between them. Null: not an amount. */
function parts(text: string): { sign: "" | "-"; body: string } | null {
  const brackets = /^\((.*)\)$/.exec(text.trim());
  const bare = (brackets?.[1] ?? text).replace(/[\s'\u2019]/g, "").replace("\u2212", "-");
  const found = /^(?:[A-Z]{3}|[€£$])?([+-]?)(?:[A-Z]{3}|[€£$])?([\d.,]*\d[\d.,]*)([+-]?)(?:[A-Z]{3}|[€£$])?$/.exec(bare);
  const [, front = "", body = "", back = ""] = found ?? [];
  if (!found || (front && back) || (brackets && (front || back))) return null;
  return { sign: brackets || front === "-" || back === "-" ? "-" : "", body };
}

/** What the whole column says, with the first line that says so. */
export function decimalMark(column: readonly { line: number; text: string }[]): DecimalMark {
  const first = { ".": 0, ",": 0 };
  let either = 0;
  for (const { line, text } of column) {
    const body = parts(text)?.body;
    if (!body || !/[.,]/.test(body)) continue;
    const marks = body.replace(/\d/g, "");
    const last = marks.at(-1) as DecimalMark;
    const other = last === "." ? "," : ".";
    // Two of a kind part thousands; a single one before three digits may do either.
    if (marks.length > 1) first[marks.includes(other) ? last : other] ||= line;
    else if (/^[1-9]\d{0,2}[.,]\d{3}$/.test(body)) either ||= line;
    else first[last] ||= line;
  }
  if (first["."] && first[","]) {
    throw new Error(`amounts have a decimal point in line ${first["."]} and a decimal comma in line ${first[","]}; correct one of them`);
  }
  if (either && !first["."] && !first[","]) {
    throw new Error(`line ${either}: the amount may be thousands or have three decimals; write two decimals`);
  }
  return first[","] ? "," : ".";
}

/** In the plain form `-1234.56`; null: not an amount with this decimal mark. */
export function amount(text: string, mark: DecimalMark): string | null {
  const read = parts(text);
  if (!read) return null;
  const [whole = "", decimals, ...more] = read.body.split(mark);
  const thousands = mark === "." ? "," : ".";
  const grouped = new RegExp(`^\\d{1,3}(\\${thousands}\\d{2,3})*\\${thousands}\\d{3}$`);
  if (more.length > 0 || decimals === "" || !/^\d*$/.test(decimals ?? "")) return null;
  if (!/^\d*$/.test(whole) && !grouped.test(whole)) return null;
  return `${read.sign}${whole.replaceAll(thousands, "") || "0"}${decimals ? `.${decimals}` : ""}`;
}

export const SHOWN: Record<DecimalMark, string> = {
  ".": "1234.56, -1,234.56 or (12.00)",
  ",": "1234,56, -1.234,56 or (12,00)",
};
