/** Reads the first rows of a CSV or TSV file (RFC 4180, leniently). */

export interface Table {
  rows: string[][];
  /** Whether rows or columns were left out. */
  isCut: boolean;
}

export const MOST_ROWS = 500;
export const MOST_COLUMNS = 60;
const CELL_CHARACTERS = 200;

export function parseCsv(
  text: string,
  separator: "," | "\t" | ";",
  limits = { rows: MOST_ROWS, characters: CELL_CHARACTERS },
): Table {
  const rows: string[][] = [];
  let row: string[] = [];
  let isCut = false;
  let at = 0;
  const endRow = () => {
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  };
  const add = (cell: string) => {
    if (row.length < MOST_COLUMNS) row.push(cell.slice(0, limits.characters));
    else isCut = true;
  };
  while (at <= text.length) {
    if (rows.length >= limits.rows) return { rows, isCut: true };
    let cell: string;
    if (text[at] === '"') {
      const end = closingQuote(text, at + 1);
      cell = text.slice(at + 1, end).replaceAll('""', '"');
      at = end + 1;
      // What follows the closing quote belongs to no cell.
      while (at < text.length && text[at] !== separator && !isBreak(text[at])) at++;
    } else {
      const start = at;
      while (at < text.length && text[at] !== separator && !isBreak(text[at])) at++;
      cell = text.slice(start, at);
    }
    add(cell);
    if (text[at] === separator) {
      at++;
      continue;
    }
    endRow();
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    at++;
  }
  return { rows, isCut };
}

/** The separator that the first line has most often. */
export function separatorOf(text: string, name: string): "," | "\t" | ";" {
  if (name.endsWith(".tsv")) return "\t";
  const line = text.slice(0, 4_000).split("\n", 1)[0] ?? "";
  const times = (mark: string) => line.split(mark).length;
  return times("\t") > times(",") ? "\t" : times(";") > times(",") ? ";" : ",";
}

function closingQuote(text: string, from: number): number {
  for (let at = from; ; at += 2) {
    at = text.indexOf('"', at);
    if (at < 0) return text.length;
    if (text[at + 1] !== '"') return at;
  }
}

function isBreak(mark: string | undefined): boolean {
  return mark === "\n" || mark === "\r";
}
