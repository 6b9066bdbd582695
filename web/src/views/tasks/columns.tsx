/** The columns of the task list. */

import type { ComponentChildren } from "preact";
import type { Task } from "../../api/model";
import { plain, plural, shortId } from "../../format";
import { href } from "../../router";
import { StatusBadge } from "../../ui/status";
import { IdleMark, TaskLink, User } from "../../ui/task_link";
import { Ago, RunTime } from "../../ui/time";

export interface Column {
  name: string;
  title: string;
  /** Width as a track of the grid. */
  width: string;
  cell: (task: Task) => ComponentChildren;
}

export const COLUMNS: readonly Column[] = [
  { name: "status", title: "Status", width: "7.5rem", cell: (task) => <StatusBadge task={task} /> },
  {
    name: "task",
    title: "Task",
    width: "minmax(13rem, 2fr)",
    cell: (task) => <TaskLink task={task} />,
  },
  {
    name: "why",
    title: "Detail",
    width: "minmax(8rem, 3fr)",
    cell: (task) => <Detail task={task} />,
  },
  {
    name: "user",
    title: "User",
    width: "minmax(5rem, 0.8fr)",
    cell: (task) => <User name={task.user_id} />,
  },
  { name: "needs", title: "Needs", width: "8.5rem", cell: (task) => needs(task) },
  {
    name: "priority",
    title: "Priority",
    width: "4.5rem",
    cell: (task) => <span class="number">{task.priority}</span>,
  },
  { name: "created", title: "Created", width: "6rem", cell: (task) => <Ago at={task.created_at} /> },
  { name: "time", title: "Run time", width: "7rem", cell: (task) => <RunTime task={task} /> },
  {
    name: "attempts",
    title: "Attempt",
    width: "4.5rem",
    cell: (task) => <span class="number">{task.attempt || ""}</span>,
  },
  {
    name: "labels",
    title: "Labels",
    width: "minmax(8rem, 2fr)",
    cell: (task) => <Labels labels={task.metadata} />,
  },
  {
    name: "experiment",
    title: "Experiment",
    width: "7rem",
    cell: (task) => task.experiment_id && <code>{shortId(task.experiment_id)}</code>,
  },
  {
    name: "sweep",
    title: "Sweep",
    width: "7rem",
    cell: (task) =>
      task.sweep_id && <a href={href(["sweeps", task.sweep_id])}>{shortId(task.sweep_id)}</a>,
  },
  {
    name: "parameters",
    title: "Parameters",
    width: "minmax(8rem, 2fr)",
    cell: (task) => <Labels labels={task.parameters} />,
  },
];

export const DEFAULT_COLUMNS = ["status", "task", "why", "user", "needs", "created", "time"];

/** The chosen columns in the table's order. */
export function chosenColumns(text: string | null): readonly Column[] {
  const names = new Set(text ? text.split(",") : DEFAULT_COLUMNS);
  names.add("task");
  return COLUMNS.filter((column) => names.has(column.name));
}

/** What a task asks of the host. */
export function needs(task: Task): string {
  const parts = [];
  if (task.gpu) parts.push(plural(task.gpu, "GPU"));
  if (task.cpu) parts.push(plural(task.cpu, "CPU"));
  if (task.memory_gb) parts.push(`${task.memory_gb} GiB`);
  return parts.join(" · ");
}

function Detail({ task }: { task: Task }) {
  const text = task.error ?? task.progress ?? [...(task.command ?? []), task.args ?? ""].join(" ");
  return (
    <span
      class={task.error && task.failure_reason !== "CANCELLED" ? "detail detail-error" : "detail"}
      title={text}
    >
      <IdleMark task={task} />
      {plain(text)}
    </span>
  );
}

export function Labels({ labels }: { labels: Record<string, string> | undefined }) {
  return (
    <span class="labels">
      {Object.entries(labels ?? {}).map(([key, value]) => (
        <span key={key} class="label" title={`${key}=${value}`}>
          {plain(key)}
          <span class="label-value">{plain(value)}</span>
        </span>
      ))}
    </span>
  );
}
