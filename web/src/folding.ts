/** Which tasks of a list share a row: those of a sweep, and those of an experiment. */

import type { Task } from "./api/model";
import type { Filter } from "./filters";

export interface Folding {
  sweeps: boolean;
  /** A task of an experiment is in its row, whatever its sweep. */
  experiments: boolean;
}

export const UNFOLDED: Folding = { sweeps: false, experiments: false };

/** `fold` in the address: experiments are not folded. */
export const SWEEPS_ONLY = "sweeps";

/** The tasks that share a row. */
export interface Group {
  kind: "experiment" | "sweep";
  id: string;
}

/**
 * How a list with this filter is folded: not where single tasks are looked for, by what the tasks
 * of one sweep or experiment differ in.
 */
export function foldingOf(filter: Filter, query: URLSearchParams): Folding {
  const { states, labels, text, sweep, experiment } = filter;
  if (states.length + labels.length > 0 || text !== undefined || sweep !== undefined)
    return UNFOLDED;
  const experiments = experiment === undefined && query.get("fold") !== SWEEPS_ONLY;
  return { sweeps: true, experiments };
}

/** The group in whose row the task is; `undefined` if it has a row of its own. */
export function groupOf(task: Task, { sweeps, experiments }: Folding): Group | undefined {
  if (experiments && task.experiment_id !== undefined)
    return { kind: "experiment", id: task.experiment_id };
  if (sweeps && task.sweep_id !== undefined) return { kind: "sweep", id: task.sweep_id };
  return undefined;
}

/** The same text for the same group only. */
export function groupKey({ kind, id }: Group): string {
  return `${kind} ${id}`;
}

/** `groupKey` of the task's group. */
export function groupKeyOf(task: Task, folding: Folding): string | undefined {
  const group = groupOf(task, folding);
  return group && groupKey(group);
}
