/** The status of a task: a shape, a colour and a word. */

import type { Task } from "../api/model";
import { Icon, type IconName } from "./icon";

export type ShownStatus = Task["status"] | "cancelled";

/** A cancelled task is `failed` for programs; people see who ended it. */
export function shownStatus(task: Task): ShownStatus {
  return task.status === "failed" && task.failure_reason === "CANCELLED"
    ? "cancelled"
    : task.status;
}

export function StatusBadge({ task }: { task: Task }) {
  return <StatusWord status={shownStatus(task)} isEnding={isEnding(task)} />;
}

export function StatusWord({ status, isEnding }: { status: ShownStatus; isEnding?: boolean }) {
  return (
    <span class={`status status-${status}`}>
      <Icon name={status satisfies IconName} />
      {isEnding ? "cancelling" : status}
    </span>
  );
}

function isEnding(task: Task): boolean {
  return (
    task.cancel_requested_at !== undefined && task.status !== "failed" && task.status !== "completed"
  );
}
