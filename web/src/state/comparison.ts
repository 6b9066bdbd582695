/** What differs between some tasks or runs: a row for each property, a value for each of them. */

import type { LoggedRun, Task } from "../api/model";
import { shellQuoted } from "../format";
import { numbersOf } from "./latest";
import { typed, valuesOf, type Value } from "./runs";

export interface Row {
  group: string;
  name: string;
  /** One for each task or run; `undefined` where it has none. */
  values: readonly (Value | undefined)[];
  isEqual: boolean;
}

/** A task with the runs that it made, or a run with the task that made it. */
export interface Compared {
  task?: Task | undefined;
  runs?: readonly LoggedRun[];
  /** Of `metrics.json` of a task; the values that its runs logged come before them. */
  metrics?: Readonly<Record<string, number>>;
}

type Get = (task: Task) => Value | undefined;

const PROPERTIES: readonly [group: string, name: string, get: Get][] = [
  ["Outcome", "status", (task) => task.status],
  ["Outcome", "error", (task) => task.error],
  ["Outcome", "exit code", (task) => task.exit_code],
  ["Outcome", "attempts", (task) => task.attempt],
  ["Outcome", "GPUs", (task) => task.gpu_uuids?.join(", ") || undefined],
  ["Request", "user", (task) => task.user_id],
  ["Request", "image", (task) => task.image],
  ["Request", "command", (task) => task.command?.map(shellQuoted).join(" ") || undefined],
  ["Request", "args", (task) => task.args],
  ["Request", "snapshot", (task) => task.snapshot_id],
  ["Request", "datasets", (task) => task.datasets?.join(", ") || undefined],
  ["Request", "packages", (task) => Object.values(task.environment ?? {}).flat().join(", ") || undefined],
  ["Request", "volumes", (task) => task.volumes?.join(", ") || undefined],
  ["Request", "secrets", (task) => task.secrets?.map(({ name }) => name).join(", ") || undefined],
  ["Request", "inputs from", (task) => task.inputs_from?.join(", ") || undefined],
  ["Request", "checkpoint from", (task) => task.checkpoint_from],
  ["Request", "environment variables", (task) => task.env_names?.join(", ") || undefined],
  ["Request", "gpu", (task) => task.gpu],
  ["Request", "cpu", (task) => task.cpu],
  ["Request", "memory, GiB", (task) => task.memory_gb],
  ["Request", "time limit, s", (task) => task.timeout_seconds || "none"],
  ["Request", "retries", (task) => task.max_retries],
  ["Request", "priority", (task) => task.priority],
];
const GROUPS = { result: "Results", parameter: "Parameters", label: "Labels" } as const;

/** Return the rows: results first, then parameters, labels, the outcome and the request. */
export function compare(all: readonly Compared[]): Row[] {
  const values = all.map(valuesOfAll);
  const keys = new Set(values.flatMap((one) => [...one.keys()]));
  const rows: Row[] = [];
  for (const [kind, group] of Object.entries(GROUPS))
    for (const key of keys)
      if (key.startsWith(`${kind}:`))
        rows.push(
          row(
            group,
            key.slice(kind.length + 1),
            values.map((one) => one.get(key)),
          ),
        );
  rows.push(
    row(
      "Outcome",
      "run time, s",
      all.map(({ task, runs }) => seconds(task ?? runs?.[0])),
    ),
  );
  for (const [group, name, get] of PROPERTIES)
    rows.push(
      row(
        group,
        name,
        all.map(({ task }) => task && get(task)),
      ),
    );
  const order = [...Object.values(GROUPS), "Outcome", "Request"];
  return rows
    .filter(({ values: some }) => some.some((value) => value !== undefined))
    .toSorted((one, other) => order.indexOf(one.group) - order.indexOf(other.group));
}

function row(group: string, name: string, values: readonly (Value | undefined)[]): Row {
  return { group, name, values, isEqual: new Set(values).size < 2 };
}

/** What was given, and what was logged: parameters of a run come before those of its command. */
function valuesOfAll({ task, runs = [], metrics }: Compared): Map<string, Value> {
  const values = valuesOf({ command: task?.command, args: task?.args, labels: task?.metadata, metrics });
  for (const run of runs) {
    for (const [name, text] of Object.entries(run.params)) values.set(`parameter:${name}`, typed(text));
    for (const [name, text] of Object.entries(run.tags))
      if (!name.startsWith("mlflow.")) values.set(`label:${name}`, typed(text));
    for (const [name, value] of Object.entries(numbersOf(run.metrics))) values.set(`result:${name}`, value);
  }
  return values;
}

function seconds(part: Pick<Task, "started_at" | "ended_at"> | undefined): number | undefined {
  const time = Date.parse(part?.ended_at ?? "") - Date.parse(part?.started_at ?? "");
  return Number.isNaN(time) ? undefined : Math.round(time / 100) / 10;
}

/** The best and the worst of some numbers, if they differ. */
export function extremes(values: readonly (Value | undefined)[]): { low?: number; high?: number } {
  const numbers = values.filter((value) => typeof value === "number");
  if (new Set(numbers).size < 2) return {};
  return { low: Math.min(...numbers), high: Math.max(...numbers) };
}

const MAX_METRICS_BYTES = 64 * 1024;

/** The numbers of a flat JSON object, as the server reads them; any other text has none. */
export function metricsIn(text: string): Record<string, number> {
  if (text.length > MAX_METRICS_BYTES) return {};
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found !== "object" || found === null || Array.isArray(found)) return {};
    return Object.fromEntries(
      Object.entries(found).filter(
        (entry): entry is [string, number] =>
          typeof entry[1] === "number" && Number.isFinite(entry[1]),
      ),
    );
  } catch {
    return {};
  }
}
