/**
 * The rows of the task list: newest first, read in pages by cursor as far as a person scrolls, and
 * kept current by the changes. A folded list has one row for each sweep or experiment: its newest
 * task.
 */

import { batch, signal } from "@preact/signals";
import { isAbort, mayPass, message, type Http } from "../api/http";
import type { Change } from "../api/live_socket";
import type { Task, TaskList as Page } from "../api/model";
import { matcher, toApi, type Filter } from "../filters";
import { type Folding, groupKeyOf, UNFOLDED } from "../folding";
import { isNewer, type Follower } from "./tasks";

/** Rows of the first page: more than the screen and the spare rows of most people. */
const FIRST_PAGE = 60;
const PAGE = 200;
const LARGEST_PAGE = 1000;
/** Rows that are read again at once. */
const MOST_AGAIN = 10_000;

/** Why a page was not read. `failed`: it may be later. */
type Unread = "aborted" | "failed" | "refused";

/** The server's order: newest first. Times have a fixed form, so they compare as texts. */
export function inListOrder(one: Task, other: Task): number {
  if (one.created_at !== other.created_at) return one.created_at < other.created_at ? 1 : -1;
  return one.id < other.id ? 1 : one.id > other.id ? -1 : 0;
}

/** Find a task in rows of the list's order, or the index at which it belongs. */
export function place(rows: readonly Task[], task: Task): { index: number; isFound: boolean } {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (inListOrder(rows[middle] as Task, task) < 0) low = middle + 1;
    else high = middle;
  }
  return { index: low, isFound: rows[low]?.id === task.id };
}

export class TaskList implements Follower {
  /** The rows that were read. Their identity changes only where a task has changed. */
  readonly rows = signal<readonly Task[]>([]);
  /** Number of all tasks that match, read or not. `undefined` until the first reply. */
  readonly total = signal<number | undefined>(undefined);
  readonly problem = signal<string | undefined>(undefined);
  readonly isReading = signal(false);
  /** The last task on the screen; `undefined` while that shows the top of the list. */
  lastSeen: Task | undefined;

  readonly #http: Http;
  readonly #filter: Filter;
  readonly #matches: (task: Task) => boolean;
  readonly #folding: Folding;
  /** Of a folded list: the row of each sweep and experiment, by the key of the group. */
  readonly #heads = new Map<string, Task>();
  #next: string | undefined;
  #reading: AbortController | null = null;
  /** Changes that arrived while the first page was read, to apply after it; `null` otherwise. */
  #early: Change[] | null = null;

  constructor(http: Http, filter: Filter, folding = UNFOLDED) {
    this.#http = http;
    this.#filter = filter;
    this.#folding = folding;
    this.#matches = matcher(filter);
  }

  /** Whether more rows can be read. */
  get hasMore(): boolean {
    return this.#next !== undefined;
  }

  /**
   * Read the first page, and further ones down to the task `last`. The rows stay until then.
   * Returns false if it has to be tried again.
   */
  async load(last?: Task): Promise<boolean> {
    this.#reading?.abort();
    this.#early = [];
    const byId = new Map<string, Task>();
    const isBelow = (task: Task | undefined) =>
      last !== undefined && task !== undefined && inListOrder(task, last) < 0;
    let page: Page | undefined;
    do {
      const read = await this.#read(page?.next_page_token, page ? LARGEST_PAGE : FIRST_PAGE);
      if (read === "aborted") return true; // By a later reading.
      if (typeof read === "string") {
        this.#applyEarly();
        return read === "refused";
      }
      page = read;
      for (const task of page.tasks) byId.set(task.id, task);
    } while (
      isBelow(page.tasks.at(-1)) &&
      byId.size < MOST_AGAIN &&
      page.next_page_token !== undefined
    );
    const { total, next_page_token } = page;
    batch(() => {
      this.#heads.clear();
      this.rows.value = this.#folded([...byId.values()]);
      this.total.value = total;
      this.#next = next_page_token;
      this.#applyEarly();
    });
    return true;
  }

  #applyEarly(): void {
    const early = this.#early ?? [];
    this.#early = null;
    this.changed(early);
  }

  /** Read the next page, if there is one and none is being read. */
  async more(): Promise<void> {
    if (this.#reading || this.#next === undefined) return;
    const page = await this.#read(this.#next, PAGE);
    if (typeof page === "string") return;
    batch(() => {
      const known = new Set(this.rows.value.map((task) => task.id));
      const unknown = page.tasks.filter((task) => !known.has(task.id));
      this.rows.value = [...this.rows.value, ...this.#folded(unknown)];
      this.total.value = page.total;
      this.#next = page.next_page_token;
    });
  }

  /**
   * Leave out tasks whose group has a row above them: the server folds each page as it is at that
   * time, and a task that was submitted again counts as one without a sweep there.
   */
  #folded(tasks: Task[]): Task[] {
    return tasks.filter((task) => {
      const group = groupKeyOf(task, this.#folding);
      if (group === undefined) return true;
      if (this.#heads.has(group)) return false;
      this.#heads.set(group, task);
      return true;
    });
  }

  stop(): void {
    this.#reading?.abort();
    this.#reading = null;
  }

  /** The rows that a person has scrolled down to are read again too. */
  resync(): Promise<boolean> {
    return this.load(this.lastSeen);
  }

  changed(changes: readonly Change[]): void {
    if (this.#early) {
      this.#early.push(...changes);
      return;
    }
    if (this.total.value === undefined) return;
    const rows = [...this.rows.value];
    const last = rows.at(-1);
    let touched = false;
    let hasLostHead = false;
    let total = this.total.value;
    for (const { task, deleted } of changes) {
      const group = groupKeyOf(task, this.#folding);
      const head = group === undefined ? undefined : this.#heads.get(group);
      if (head && head.id !== task.id) {
        const isWanted = !deleted && this.#matches(task);
        if (!isWanted || inListOrder(task, head) > 0) {
          if (deleted) total--;
          touched ||= deleted;
          continue;
        }
        rows.splice(place(rows, head).index, 1);
      }
      if (this.#filter.sweep === task.sweep_id && task.sweep_index !== undefined && !deleted) {
        // Of two tasks with one index the older was submitted again: it is of the sweep no more.
        const twin = rows.findIndex(
          (row) => row.sweep_index === task.sweep_index && row.id !== task.id,
        );
        if (twin >= 0) {
          if (inListOrder(rows[twin] as Task, task) < 0) continue;
          rows.splice(twin, 1);
          total--;
          touched = true;
        }
      }
      const { index, isFound } = place(rows, task);
      if (!deleted && this.#matches(task)) {
        touched = true;
        if (isFound) {
          if (!isNewer(rows[index], task)) continue;
          rows[index] = task;
          if (group !== undefined) this.#heads.set(group, task);
          continue;
        }
        // A task older than the last row comes, and is counted, with its own page.
        if (this.#next === undefined || (last && inListOrder(task, last) < 0)) {
          rows.splice(index, 0, task);
          total++;
          if (group !== undefined) this.#heads.set(group, task);
        }
      } else if (isFound) {
        rows.splice(index, 1);
        total--;
        touched = true;
        if (group !== undefined) hasLostHead = this.#heads.delete(group);
      }
    }
    if (!touched) return;
    this.rows.value = rows;
    this.total.value = Math.max(total, rows.length);
    // The group may have other tasks, of which the list has none.
    if (hasLostHead) void this.resync();
  }

  async #read(token: string | undefined, size: number): Promise<Page | Unread> {
    const reading = new AbortController();
    this.#reading = reading;
    this.isReading.value = true;
    try {
      const query = {
        ...toApi(this.#filter),
        fold_sweeps: this.#folding.sweeps || undefined,
        fold_experiments: this.#folding.experiments || undefined,
        view: "full",
        page_size: size,
        page_token: token,
      };
      const page = await this.#http.get<Page>("/v1/tasks", { query, signal: reading.signal });
      this.problem.value = undefined;
      return page;
    } catch (error) {
      if (isAbort(error)) return "aborted";
      this.problem.value = message(error);
      return mayPass(error) ? "failed" : "refused";
    } finally {
      if (this.#reading === reading) {
        this.#reading = null;
        this.isReading.value = false;
      }
    }
  }
}
