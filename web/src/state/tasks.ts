/** Collections of tasks that follow changes. */

import type { Change } from "../api/live_socket";
import { ENDED, type Task } from "../api/model";

/** A model that follows the changes of tasks. */
export interface Follower {
  changed(changes: readonly Change[]): void;
  /**
   * Changes were missed: read everything again. Returns false if it has to be tried again; nothing
   * where the view reads by itself every few seconds.
   */
  resync(): Promise<boolean> | void;
}

/** Oldest first: ids are UUIDv7, which grow with time. */
export function byAge(one: Task, other: Task): number {
  return one.id < other.id ? -1 : one.id > other.id ? 1 : 0;
}

/** Whether `next` is not older than `known`: an end is final. */
export function isNewer(known: Task | undefined, next: Task): boolean {
  return known === undefined || !ENDED.has(known.status) || ENDED.has(next.status);
}

/**
 * Return the tasks after the changes: those that `belongs` accepts, oldest first. Equal to `tasks`
 * itself if no change concerns it.
 */
export function merged(
  tasks: readonly Task[],
  changes: readonly Change[],
  belongs: (task: Task) => boolean,
): readonly Task[] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  let touched = false;
  for (const { task, deleted } of changes) {
    const known = byId.get(task.id);
    if (!deleted && belongs(task)) {
      if (!isNewer(known, task)) continue;
      byId.set(task.id, task);
      touched = true;
    } else if (known) {
      byId.delete(task.id);
      touched = true;
    }
  }
  return touched ? [...byId.values()].toSorted(byAge) : tasks;
}
