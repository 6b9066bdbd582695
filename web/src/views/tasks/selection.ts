/** Which rows of the list are selected. */

import { signal } from "@preact/signals";
import type { Task } from "../../api/model";

/** Most tasks that one action takes: each is a request of its own. */
export const MOST = 10_000;

export class Selection {
  readonly ids = signal<ReadonlySet<string>>(new Set());
  #last: string | undefined;

  /** Select or deselect one row; with `isRange` all rows from the last one that was toggled. */
  toggle(id: string, rows: readonly Task[], isRange: boolean): void {
    const ids = new Set(this.ids.value);
    const isOn = !ids.has(id);
    let chosen = [id];
    if (isRange && this.#last !== undefined) {
      const ends = [this.#last, id].map((one) => rows.findIndex((task) => task.id === one));
      const [from, to] = [Math.min(...ends), Math.max(...ends)];
      if (from >= 0) chosen = rows.slice(from, to + 1).map((task) => task.id);
    }
    for (const one of chosen) {
      if (!isOn) ids.delete(one);
      else if (ids.size < MOST) ids.add(one);
    }
    this.#last = id;
    this.ids.value = ids;
  }

  add(tasks: readonly Pick<Task, "id">[]): void {
    const ids = new Set(this.ids.value);
    for (const { id } of tasks) if (ids.size < MOST) ids.add(id);
    this.ids.value = ids;
  }

  clear(): void {
    this.ids.value = new Set();
    this.#last = undefined;
  }
}
