/** The rows of a folded task list as they are shown: an open sweep is followed by its tasks. */

import { computed, signal, type ReadonlySignal } from "@preact/signals";
import type { Http } from "../api/http";
import type { Task } from "../api/model";
import type { Filter } from "../filters";
import type { Follower } from "./store";
import { place, TaskList } from "./task_list";

/** A task below the row of its sweep. */
export class Member {
  readonly task: Task;

  constructor(task: Task) {
    this.task = task;
  }
}

/** The tasks of an open sweep that are not read yet. */
export class Rest {
  readonly sweep: string;
  readonly list: TaskList;

  constructor(sweep: string, list: TaskList) {
    this.sweep = sweep;
    this.list = list;
  }
}

/** A task: of no sweep, or the newest of its sweep and the row of that. */
export type Row = Task | Member | Rest;

/** The same key for the same row, whatever has changed in it. */
export function keyOf(row: Row): string {
  if (row instanceof Member) return row.task.id;
  if (row instanceof Rest) return `rest ${row.sweep}`;
  return row.sweep_id === undefined ? row.id : `sweep ${row.sweep_id}`;
}

export class OpenSweeps {
  readonly lists = signal<ReadonlyMap<string, TaskList>>(new Map());
  readonly rows: ReadonlySignal<readonly Row[]>;
  readonly #http: Http;
  readonly #filter: Filter;
  readonly #follow: (follower: Follower) => () => void;
  readonly #leave = new Map<string, () => void>();

  /** `base`: a folded list, whose sweeps open here; `filter`: that of the list. */
  constructor(
    http: Http,
    base: TaskList,
    filter: Filter,
    follow: (follower: Follower) => () => void,
  ) {
    this.#http = http;
    this.#filter = filter;
    this.#follow = follow;
    this.rows = computed(() => {
      const lists = this.lists.value;
      return lists.size === 0 ? base.rows.value : withMembers(base.rows.value, lists);
    });
  }

  toggle(sweep: string): void {
    const lists = new Map(this.lists.value);
    if (lists.delete(sweep)) this.#close(sweep);
    else {
      const list = new TaskList(this.#http, { ...this.#filter, sweep });
      lists.set(sweep, list);
      const leave = this.#follow(list);
      this.#leave.set(sweep, () => {
        leave();
        list.stop();
      });
      void list.load();
    }
    this.lists.value = lists;
  }

  close(): void {
    for (const sweep of [...this.#leave.keys()]) this.#close(sweep);
    this.lists.value = new Map();
  }

  #close(sweep: string): void {
    this.#leave.get(sweep)?.();
    this.#leave.delete(sweep);
  }

  /** Find a row again after the rows have changed; -1 if it is gone. */
  indexOf(row: Row, rows: readonly Row[]): number {
    if (this.lists.value.size === 0 && isTask(row) && row.sweep_id === undefined) {
      const { index, isFound } = place(rows as readonly Task[], row);
      return isFound ? index : -1;
    }
    const key = keyOf(row);
    return rows.findIndex((one) => keyOf(one) === key);
  }

  /** Note the last row on the screen: a resync reads up to it. `undefined` at the top of the list. */
  look(base: TaskList, last: Row | undefined): void {
    if (last instanceof Rest) return;
    const isMember = last instanceof Member;
    const task = isMember ? last.task : last;
    if (isMember) {
      const list = this.lists.value.get(task?.sweep_id ?? "");
      if (list) list.lastSeen = task;
    }
    base.lastSeen = task;
  }
}

/** The tasks that have a row of their own, which a person can select. */
export function single(rows: readonly Row[], isFolded: boolean): Task[] {
  const found: Task[] = [];
  for (const row of rows) {
    if (row instanceof Member) found.push(row.task);
    else if (isTask(row) && !(isFolded && row.sweep_id !== undefined)) found.push(row);
  }
  return found;
}

function isTask(row: Row): row is Task {
  return !(row instanceof Member) && !(row instanceof Rest);
}

const members = new WeakMap<Task, Member>();

function memberOf(task: Task): Member {
  let member = members.get(task);
  if (!member) members.set(task, (member = new Member(task)));
  return member;
}

function withMembers(tasks: readonly Task[], lists: ReadonlyMap<string, TaskList>): Row[] {
  const rows: Row[] = [];
  for (const task of tasks) {
    rows.push(task);
    const list = task.sweep_id === undefined ? undefined : lists.get(task.sweep_id);
    if (!list) continue;
    for (const member of list.rows.value) rows.push(memberOf(member));
    // Until the first reply the total is not known.
    if ((list.total.value ?? 1) > list.rows.value.length) rows.push(new Rest(task.sweep_id ?? "", list));
  }
  return rows;
}
