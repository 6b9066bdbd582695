/** The runs of an experiment as a table: a column for each parameter, label and result. */

import { shellWords } from "./shell_words";
import type { Status } from "../api/model";

export type Value = string | number;
export type ColumnKind = "parameter" | "label" | "result";

export interface Column {
  /** Unique: the kind and the name. */
  key: string;
  kind: ColumnKind;
  name: string;
}

export interface Run {
  id: string;
  name: string;
  status: Status;
  user: string | undefined;
  /** Milliseconds; `undefined` while the run has not ended. */
  duration: number | undefined;
  createdAt: string;
  values: ReadonlyMap<string, Value>;
}

export const MAX_COLUMNS = 200;

/** What a run was given and what it gave, before it is a row. */
export interface RunData {
  command?: readonly string[] | undefined;
  args?: string | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  metrics?: Readonly<Record<string, number>> | undefined;
}

/** Return the values of a run by the keys of their columns. */
export function valuesOf(data: RunData): Map<string, Value> {
  const values = new Map<string, Value>();
  for (const [name, value] of parametersOf(data)) values.set(`parameter:${name}`, value);
  for (const [name, text] of Object.entries(data.labels ?? {}))
    values.set(`label:${name}`, typed(text));
  for (const [name, value] of Object.entries(data.metrics ?? {}))
    values.set(`result:${name}`, value);
  return values;
}

const OPTION = /^--?([A-Za-z][\w.-]*)(?:=(.*))?$/s;
const ASSIGNMENT = /^\+{0,2}([A-Za-z_][\w./-]*)=(.*)$/s;

/** Options of a command line: `--lr 0.1`, `--lr=0.1`, `lr=0.1`, and `--flag` alone as `true`. */
export function parametersOf(data: RunData): Map<string, Value> {
  const split = shellWords(data.args ?? "");
  const words = [...(data.command ?? []), ...("words" in split ? split.words : [])];
  const found = new Map<string, Value>();
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as string;
    const option = OPTION.exec(word);
    if (option) {
      const [, name = "", given] = option;
      const next = words[index + 1];
      if (given !== undefined) found.set(name, typed(given));
      else if (next !== undefined && !isOption(next)) {
        found.set(name, typed(next));
        index++;
      } else found.set(name, "true");
      continue;
    }
    const assignment = ASSIGNMENT.exec(word);
    if (assignment) found.set(assignment[1] ?? "", typed(assignment[2] ?? ""));
  }
  return found;
}

function isOption(word: string): boolean {
  return OPTION.test(word) || ASSIGNMENT.test(word);
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A number where the text is one. */
export function typed(text: string): Value {
  if (!NUMBER.test(text)) return text;
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

const KINDS: readonly ColumnKind[] = ["parameter", "result", "label"];

/** Return the columns of the runs: parameters, results, labels, each in the order of appearance. */
export function columnsOf(runs: readonly Run[]): Column[] {
  const columns = new Map<string, Column>();
  for (const run of runs)
    for (const key of run.values.keys()) {
      if (columns.has(key)) continue;
      const mark = key.indexOf(":");
      columns.set(key, { key, kind: key.slice(0, mark) as ColumnKind, name: key.slice(mark + 1) });
    }
  return KINDS.flatMap((kind) => [...columns.values()].filter((column) => column.kind === kind)).slice(
    0,
    MAX_COLUMNS,
  );
}

/** Return the columns in which at least two runs differ; results always. */
export function differing(columns: readonly Column[], runs: readonly Run[]): Column[] {
  if (runs.length < 2) return [...columns];
  return columns.filter(
    (column) =>
      column.kind === "result" || new Set(runs.map((run) => run.values.get(column.key))).size > 1,
  );
}

/** Sort by a column. Runs without the value come last, in both directions. */
export function sorted(runs: readonly Run[], key: string, descending: boolean): Run[] {
  const value = (run: Run): Value | undefined =>
    key === "name"
      ? run.name
      : key === "status"
        ? run.status
        : key === "time"
          ? run.duration
          : key === "created"
            ? run.createdAt
            : run.values.get(key);
  const sign = descending ? -1 : 1;
  return runs.toSorted((one, other) => {
    const a = value(one);
    const b = value(other);
    if (a === undefined || b === undefined)
      return Number(a === undefined) - Number(b === undefined);
    return sign * compared(a, b);
  });
}

function compared(one: Value, other: Value): number {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

/** Runs whose name, id, status or any value contains every word of the text. */
export function filtered(runs: readonly Run[], text: string): readonly Run[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return runs;
  return runs.filter((run) => {
    const parts = [run.name, run.id, run.status, run.user ?? ""];
    for (const [key, value] of run.values) parts.push(`${key.slice(key.indexOf(":") + 1)}=${value}`);
    const all = parts.join("\n").toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

/** Columns that hold at least one number, for the axes of plots. */
export function numeric(columns: readonly Column[], runs: readonly Run[]): Column[] {
  return columns.filter((column) =>
    runs.some((run) => typeof run.values.get(column.key) === "number"),
  );
}

/** A value in few characters: 6 digits count. */
export function shown(value: Value | undefined): string {
  if (value === undefined) return "";
  if (typeof value === "string" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(6)));
}
