/**
 * The rows of a folded task list as they are shown: an open sweep or experiment is followed by its
 * tasks.
 */

import { computed, signal, type ReadonlySignal } from "@preact/signals";
import type { Http } from "../api/http";
import type { Task } from "../api/model";
import type { Filter } from "../filters";
import { type Folding, type Group, groupKey, groupKeyOf, groupOf } from "../folding";
import { place, TaskList } from "./task_list";
import type { Follower } from "./tasks";

/** A task below the row of its group. */
export class Member {
  readonly task: Task;

  constructor(task: Task) {
    this.task = task;
  }
}

/** The tasks of an open group that are not read yet. */
export class Rest {
  /** `groupKey` of the group. */
  readonly group: string;
  readonly list: TaskList;

  constructor(group: string, list: TaskList) {
    this.group = group;
    this.list = list;
  }
}

/** A task: of no group, or the newest of its group and the row of that. */
export type Row = Task | Member | Rest;

/** The same key for the same row, whatever has changed in it. */
export function keyOf(row: Row, folding: Folding): string {
  if (row instanceof Member) return row.task.id;
  if (row instanceof Rest) return `rest ${row.group}`;
  return groupKeyOf(row, folding) ?? row.id;
}

/** The group that the row stands for; `undefined` if it is that of one task. */
export function groupOfRow(row: Row, folding: Folding): Group | undefined {
  return isTask(row) ? groupOf(row, folding) : undefined;
}

export class OpenGroups {
  /** The tasks of each open group, by its key. */
  readonly lists = signal<ReadonlyMap<string, TaskList>>(new Map());
  readonly rows: ReadonlySignal<readonly Row[]>;
  readonly #http: Http;
  readonly #filter: Filter;
  readonly #folding: Folding;
  readonly #follow: (follower: Follower) => () => void;
  readonly #leave = new Map<string, () => void>();

  /** `base`: the list whose groups open here; `filter` and `folding`: those of the list. */
  constructor(
    http: Http,
    base: TaskList,
    filter: Filter,
    folding: Folding,
    follow: (follower: Follower) => () => void,
  ) {
    this.#http = http;
    this.#filter = filter;
    this.#folding = folding;
    this.#follow = follow;
    this.rows = computed(() => {
      const lists = this.lists.value;
      return lists.size === 0 ? base.rows.value : withMembers(base.rows.value, lists, folding);
    });
  }

  toggle(group: Group): void {
    const lists = new Map(this.lists.value);
    const key = groupKey(group);
    if (lists.delete(key)) this.#close(key);
    else {
      const list = new TaskList(this.#http, { ...this.#filter, [group.kind]: group.id });
      lists.set(key, list);
      const leave = this.#follow(list);
      this.#leave.set(key, () => {
        leave();
        list.stop();
      });
      void list.load();
    }
    this.lists.value = lists;
  }

  close(): void {
    for (const key of [...this.#leave.keys()]) this.#close(key);
    this.lists.value = new Map();
  }

  #close(key: string): void {
    this.#leave.get(key)?.();
    this.#leave.delete(key);
  }

  /** Find a row again after the rows have changed; -1 if it is gone. */
  indexOf(row: Row, rows: readonly Row[]): number {
    if (this.lists.value.size === 0 && isTask(row) && !groupOf(row, this.#folding)) {
      const { index, isFound } = place(rows as readonly Task[], row);
      return isFound ? index : -1;
    }
    const key = keyOf(row, this.#folding);
    return rows.findIndex((one) => keyOf(one, this.#folding) === key);
  }

  /** Note the last row on the screen: a resync reads up to it. `undefined` at the top of the list. */
  look(base: TaskList, last: Row | undefined): void {
    if (last instanceof Rest) return;
    const isMember = last instanceof Member;
    const task = isMember ? last.task : last;
    if (isMember) {
      const list = this.lists.value.get(groupKeyOf(last.task, this.#folding) ?? "");
      if (list) list.lastSeen = task;
    }
    base.lastSeen = task;
  }
}

/** The tasks that have a row of their own, which a person can select. */
export function single(rows: readonly Row[], folding: Folding): Task[] {
  const found: Task[] = [];
  for (const row of rows) {
    if (row instanceof Member) found.push(row.task);
    else if (isTask(row) && !groupOf(row, folding)) found.push(row);
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

function withMembers(
  tasks: readonly Task[],
  lists: ReadonlyMap<string, TaskList>,
  folding: Folding,
): Row[] {
  const rows: Row[] = [];
  for (const task of tasks) {
    rows.push(task);
    const group = groupKeyOf(task, folding);
    const list = group === undefined ? undefined : lists.get(group);
    if (group === undefined || !list) continue;
    for (const member of list.rows.value) rows.push(memberOf(member));
    // Until the first reply the total is not known.
    if ((list.total.value ?? 1) > list.rows.value.length) rows.push(new Rest(group, list));
  }
  return rows;
}
