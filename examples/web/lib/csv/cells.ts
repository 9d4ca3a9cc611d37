// A table's text as rows of cells.

export interface CsvRow {
  /** Where the row begins in the file, from 1. */
  line: number;
  cells: string[];
}

const DELIMITERS = [",", ";", "\t", "|"];
/** A quote that never ends would make one cell of the rest of the file. */
const MAX_CELL = 8_192;

/** The rows that have anything in them. `delimiter`: what stands between cells. */
export function rows(text: string, delimiter: string): CsvRow[] {
  const found: CsvRow[] = [];
  let row: CsvRow = { line: 1, cells: [] };
  let cell = "";
  let line = 1;
  let quoted = false;
  const endCell = () => {
    row.cells.push(cell.trim());
    cell = "";
  };
  const endRow = () => {
    endCell();
    if (row.cells.some((cell) => cell !== "")) found.push(row);
    row = { line, cells: [] };
  };
  for (let at = 0; at < text.length; at++) {
    const sign = text[at] as string;
    if (sign === "\n") line++;
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (text[at + 1] === '"') cell += text[at++];
      else quoted = false;
    } else if (sign === '"' && cell.trim() === "") {
      quoted = true;
      cell = "";
    } else if (sign === delimiter) endCell();
    else if (sign === "\n") endRow();
    else if (sign !== "\r" || (text[at + 1] !== "\n" && text[at + 1] !== undefined)) cell += sign;
    if (cell.length > MAX_CELL) throw new UnendedCell(row.line);
  }
  endRow();
  return found;
}

export class UnendedCell extends Error {
  constructor(readonly line: number) {
    super(`a cell of more than ${MAX_CELL} characters. Is a quote missing at its end?`);
  }
}

/** The delimiter with which `score` is highest. */
export function bestDelimiter(text: string, score: (rows: CsvRow[]) => number): string {
  const sample = text.slice(0, 65_536);
  const scored = DELIMITERS.map((delimiter) => {
    try {
      return { delimiter, score: score(rows(sample, delimiter)) };
    } catch {
      return { delimiter, score: -1 };
    }
  });
  return scored.reduce((best, next) => (next.score > best.score ? next : best)).delimiter;
}
