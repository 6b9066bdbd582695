/** The filter of the task list: its form in the address, in a query of the API, and as a test. */

import type { Query } from "./api/http";
import { STATUSES, type Status, type Task } from "./api/model";

export interface Filter {
  states: readonly Status[];
  /** `undefined`: everyone. */
  user?: string;
  name?: string;
  text?: string;
  /** `key=value` or `key`, all of which must match. */
  labels: readonly string[];
  experiment?: string;
  sweep?: string;
  /** RFC 3339 times, or days (`2026-11-28`) as they are in the browser's time zone. */
  after?: string;
  before?: string;
}

/** `user` in the address: `*` is everyone, absent is the default. */
export const EVERYONE = "*";

export function fromQuery(query: URLSearchParams, defaultUser: string | undefined): Filter {
  const user = query.get("user") ?? defaultUser;
  const filter: Filter = {
    states: listed(query.get("status")).filter((one): one is Status =>
      (STATUSES as readonly string[]).includes(one),
    ),
    labels: query.getAll("label").filter(Boolean),
  };
  if (user && user !== EVERYONE) filter.user = user;
  for (const [field, name] of TEXTS) {
    const value = query.get(name)?.trim();
    if (value) filter[field] = value;
  }
  return filter;
}

const TEXTS = [
  ["name", "name"],
  ["text", "q"],
  ["experiment", "experiment"],
  ["sweep", "sweep"],
  ["after", "after"],
  ["before", "before"],
] as const;

/** Whether anything besides the user is filtered. */
export function isFiltered(filter: Filter): boolean {
  return (
    filter.states.length > 0 ||
    filter.labels.length > 0 ||
    TEXTS.some(([field]) => filter[field] !== undefined)
  );
}

/** The same filter as a query of `GET /v1/tasks`. */
export function toApi(filter: Filter): Query {
  return {
    states: filter.states.join(","),
    user_id: filter.user,
    job_name_prefix: filter.name,
    text: filter.text,
    labels: filter.labels,
    experiment_id: filter.experiment,
    sweep_id: filter.sweep,
    created_after: time(filter.after),
    created_before: time(filter.before, DAY),
  };
}

const DAY = 24 * 3600_000;

/** A day or time as RFC 3339. A day as an end includes it: `add` is its length. */
export function time(text: string | undefined, add = 0): string | undefined {
  if (text === undefined) return undefined;
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const at = Date.parse(isDay ? `${text}T00:00` : text);
  return Number.isNaN(at) ? undefined : new Date(at + (isDay ? add : 0)).toISOString();
}

/** Return a test for tasks of the full view that equals the server's filter. */
export function matcher(filter: Filter): (task: Task) => boolean {
  const states = new Set<Status>(filter.states);
  const text = filter.text?.toLowerCase();
  const after = Date.parse(time(filter.after) ?? "");
  const before = Date.parse(time(filter.before, DAY) ?? "");
  const labels = filter.labels.map((label) => {
    const mark = label.indexOf("=");
    return mark < 0
      ? { key: label, value: undefined }
      : { key: label.slice(0, mark), value: label.slice(mark + 1) };
  });
  return (task) => {
    const created = Date.parse(task.created_at);
    return (
      (states.size === 0 || states.has(task.status)) &&
      (filter.user === undefined || task.user_id === filter.user) &&
      (filter.name === undefined || task.job_name.startsWith(filter.name)) &&
      (filter.experiment === undefined || task.experiment_id === filter.experiment) &&
      (filter.sweep === undefined || task.sweep_id === filter.sweep) &&
      !(created < after) &&
      !(created >= before) &&
      labels.every(({ key, value }) => {
        const own = Object.hasOwn(task.metadata ?? {}, key) ? task.metadata?.[key] : undefined;
        return own !== undefined && (value === undefined || own === value);
      }) &&
      (text === undefined || searched(task).some((part) => part?.toLowerCase().includes(text)))
    );
  };
}

function searched(task: Task): (string | undefined)[] {
  return [task.job_name, task.id, task.args, task.command?.join(" "), task.error];
}

function listed(text: string | null): string[] {
  return (text ?? "").split(",").filter(Boolean);
}
