import { amount, decimalMark, SHOWN as AMOUNT_SHOWN } from "@/lib/csv/amount";
import { bestDelimiter, type CsvRow, rows, UnendedCell } from "@/lib/csv/cells";
import { type Columns, columnsOf, currencyIn, type Field, namesOf, plain } from "@/lib/csv/columns";
import { date, dateOrder, SHOWN as DATE_SHOWN } from "@/lib/csv/date";

// A bank's CSV file as transactions, by the rules of the REST import (docs/rest.md) for the columns that this app uses.

export interface Transaction {
  /** The same for the same transaction in any file. */
  id: string;
  date: string;
  description: string;
  /** With a minus if the money went out, such as `-12.34`. */
  amount: string;
  currency: string;
  /** One of the model's categories, if the file names one. */
  category: string | null;
}

export interface LineProblem {
  line: number;
  problem: string;
}

export interface ReadFile {
  transactions: Transaction[];
  /** Rows that are no transactions, and why. */
  refused: LineProblem[];
  /** Rows whose category the model does not have; they are predicted only. */
  unknown: LineProblem[];
}

/** Why no row of a file can be read; a sentence for the person who has the file. */
export class UnreadableFile extends Error {}

/** Banks write the account and the period above the header. */
const HEADER_WITHIN = 40;
/** In bytes of UTF-8: what the SDK keeps of an example at most. */
const MAX_DESCRIPTION = 512;

export async function readTransactions(bytes: ArrayBuffer, categories: readonly string[], now: Date): Promise<ReadFile> {
  const { columns, header, body } = table(decode(bytes));
  const cell = (row: CsvRow, field: Field) => row.cells[columns[field] ?? -1] ?? "";
  const texts = (field: Field) => body.map((row) => ({ line: row.line, text: cell(row, field) }));
  const mark = decided(() => decimalMark(texts("amount")));
  const order = decided(() => dateOrder(texts("date")));
  const currencyOfFile = currencyIn(header.cells[columns.amount ?? -1] ?? "");
  if (columns.currency === undefined && !currencyOfFile) {
    throw new UnreadableFile("no currency: add a column named currency with codes such as EUR");
  }
  const bySlug = new Map(categories.map((label) => [plain(label), label]));
  const times = new Map<string, number>();
  const read: ReadFile = { transactions: [], refused: [], unknown: [] };

  for (const row of body) {
    const refuse = (problem: string) => read.refused.push({ line: row.line, problem });
    const named = (field: Field) => header.cells[columns[field] ?? -1] || field;
    const day = date(cell(row, "date"), order, now.getUTCFullYear());
    const money = amount(cell(row, "amount"), mark);
    const description = (cell(row, "description") || cell(row, "merchant")).replace(/\s+/g, " ");
    const currency = cell(row, "currency").replace("€", "EUR").toUpperCase() || currencyOfFile || "";
    if (row.cells.slice(header.cells.length).some((cell) => cell !== "")) {
      refuse(`${row.cells.length} cells under ${header.cells.length} column names; is a cell with the delimiter in it, such as 1,50, not in quotes?`);
    } else if (!cell(row, "date")) refuse(`${named("date")}: empty; every transaction has one`);
    else if (!day) refuse(`${named("date")}: not a date of the calendar, or not written as ${DATE_SHOWN[order]}`);
    else if (Date.parse(day) > now.getTime() + 366 * 86_400_000) refuse(`${named("date")}: more than a year from now`);
    else if (!cell(row, "amount")) refuse(`${named("amount")}: empty; every transaction has one`);
    else if (!money) refuse(`${named("amount")}: not an amount; write it such as ${AMOUNT_SHOWN[mark]}`);
    else if (!description) refuse(`${named("description")}: empty; write what the transaction was`);
    else if (new TextEncoder().encode(description).length > MAX_DESCRIPTION) refuse(`${named("description")}: longer than ${MAX_DESCRIPTION} bytes`);
    else if (!/^[A-Z]{3}$/.test(currency)) refuse(`${named("currency")}: not a currency's code, such as EUR`);
    else {
      const given = cell(row, "category");
      const category = bySlug.get(plain(given)) ?? null;
      if (given && !category) read.unknown.push({ line: row.line, problem: `${named("category")}: not one of the model's categories` });
      // A second equal one of the same day is another transaction.
      const content = JSON.stringify([day, description, money]);
      const occurrence = times.get(content) ?? 0;
      times.set(content, occurrence + 1);
      const id = await digest(occurrence === 0 ? content : `${content}${occurrence}`);
      read.transactions.push({ id, date: day, description, amount: money, currency, category });
    }
  }
  return read;
}

function decode(bytes: ArrayBuffer): string {
  try {
    // Takes off a byte order mark.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UnreadableFile('not UTF-8 text; save the file as UTF-8 (in a spreadsheet program: save as "CSV UTF-8") and try again');
  }
}

/** Finds the header: the first row that names a date and an amount. */
function table(text: string): { header: CsvRow; columns: Columns; body: CsvRow[] } {
  const known = (row: CsvRow) => Object.keys(columnsOf(row.cells)).length;
  const complete = (row: CsvRow) => ["date", "amount"].every((field) => field in columnsOf(row.cells));
  const header = (all: CsvRow[]) => {
    const first = all.slice(0, HEADER_WITHIN);
    return first.find(complete) ?? first.reduce((best, row) => (known(row) > known(best) ? row : best), first[0] as CsvRow);
  };
  const delimiter = bestDelimiter(text, (all) => (all[0] ? known(header(all)) : 0));
  const all = decided(() => rows(text, delimiter));
  const found = header(all);
  const body = found ? all.slice(all.indexOf(found) + 1) : [];
  if (!found || (body.length === 0 && known(found) === 0)) {
    throw new UnreadableFile("the file has no rows; a CSV file needs a header line and at least one more");
  }
  const columns = columnsOf(found.cells);
  const missing = (what: string, field: Field) =>
    new UnreadableFile(`no column for the ${what}; name one of: ${namesOf(field)} (the columns are: ${found.cells.slice(0, 20).join(", ")})`);
  if (columns.date === undefined) throw missing("date", "date");
  if (columns.amount === undefined) throw missing("amount", "amount");
  if (columns.description === undefined && columns.merchant === undefined) throw missing("description", "description");
  if (body.length === 0) throw new UnreadableFile("the file has no rows below its header line");
  return { header: found, columns, body };
}

/** What is decided for the whole file ends the import if it cannot be. */
function decided<T>(decide: () => T): T {
  try {
    return decide();
  } catch (error) {
    if (error instanceof UnendedCell) throw new UnreadableFile(`line ${error.line}: ${error.message}`);
    throw new UnreadableFile(error instanceof Error ? error.message : String(error));
  }
}

async function digest(content: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(content));
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
