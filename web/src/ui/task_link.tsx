/** Links to tasks and names of users, which may hold any text. */

import type { Task } from "../api/model";
import { ms, plain, relative, shortId } from "../format";
import { href } from "../router";
import { slowNow } from "../state/clock";
import { store } from "../state/store";

export function TaskLink({ task }: { task: Pick<Task, "id" | "job_name"> }) {
  return (
    <a class="task-link" href={href(["tasks", task.id])} title={task.id}>
      <span class="task-name">{plain(task.job_name)}</span>{" "}
      <span class="task-id">{shortId(task.id)}</span>
    </a>
  );
}

export function User({ name }: { name: string | undefined }) {
  if (name === undefined) return null;
  return store.session.value?.user === name ? (
    <span class="user user-self" title="You">
      {plain(name)}
    </span>
  ) : (
    <span class="user">{plain(name)}</span>
  );
}

/** Marks a task that leaves its GPUs idle. */
export function IdleMark({ task }: { task: Pick<Task, "idle_since"> }) {
  const since = ms(task.idle_since);
  if (since === undefined) return null;
  return (
    <span class="idle-mark">GPU idle for {relative(since, slowNow.value).replace(" ago", "")} </span>
  );
}
