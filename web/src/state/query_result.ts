/** The result of a query in SQL, as a text for people and as CSV. */

/** As JSON carries it. Lists and structures are such too. */
export type SqlValue = string | number | boolean | null | readonly SqlValue[] | { readonly [name: string]: SqlValue };

export interface SqlColumn {
  name: string;
  /** DuckDB's. */
  type: string;
  description?: string;
}

export interface SqlResult {
  columns: SqlColumn[];
  rows: SqlValue[][];
  /** Whether there are more rows. */
  cut?: boolean;
}

/** Whether the values of a column are aligned as numbers. */
export function isNumeric({ type }: SqlColumn): boolean {
  return /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$/.test(type);
}

export function valueText(value: SqlValue): string {
  if (value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** RFC 4180. A missing value is an empty field, an empty text is quoted. */
export function toCsv({ columns, rows }: SqlResult): string {
  const lines = [columns.map(({ name }) => field(name)), ...rows.map((row) => row.map(field))];
  return lines.map((line) => `${line.join(",")}\r\n`).join("");
}

function field(value: SqlValue): string {
  const text = valueText(value);
  const isQuoted = /[",\r\n]/.test(text) || (text === "" && value !== null);
  return isQuoted ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The place that an error of DuckDB names by its line and a mark below it: the offset in the text. */
export function placeOf(error: string, sql: string): number | undefined {
  const found = /^LINE (\d+): (.*)\n([ ]*)\^/m.exec(error);
  if (!found) return undefined;
  const [, line = "", excerpt = "", blanks = ""] = found;
  const before = sql.split("\n").slice(0, Number(line) - 1);
  const start = Math.min(sql.length, before.reduce((sum, one) => sum + one.length + 1, 0));
  const text = sql.slice(start).split("\n", 1)[0] ?? "";
  // Of a long line only a part is shown, between dots.
  const shown = excerpt.replace(/^\.\.\./, "").replace(/\.\.\.$/, "");
  const left = excerpt.length - excerpt.replace(/^\.\.\./, "").length;
  const inside = blanks.length - `LINE ${line}: `.length - left;
  const at = text.indexOf(shown);
  return at < 0 || inside < 0 ? start : start + at + Math.min(inside, shown.length);
}
