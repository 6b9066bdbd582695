/**
 * The sweeps or experiments whose rows are on the screen, each with the number of its tasks by
 * status.
 */

import { signal } from "@preact/signals";
import type { Http } from "../api/http";
import type { Change } from "../api/live_socket";
import type { Task } from "../api/model";
import type { Follower } from "./tasks";

const AT_ONCE = 2;
/** Shortest time between two reads of one record. */
const CALM_MS = 1_000;

export class GroupRecords<Item> implements Follower {
  readonly byId = signal<ReadonlyMap<string, Item>>(new Map());
  readonly #http: Http;
  readonly #path: string;
  readonly #idOf: (task: Task) => string | undefined;
  readonly #query: Readonly<Record<string, string>>;
  /** Rows that show the record, by its id. */
  readonly #shown = new Map<string, number>();
  readonly #stale = new Set<string>();
  readonly #readAt = new Map<string, number>();
  #reading = 0;

  /**
   * `path`: of the collection; `idOf`: the record that is read again when this task changes;
   * `query`: of each read.
   */
  constructor(
    http: Http,
    path: string,
    idOf: (task: Task) => string | undefined,
    query: Readonly<Record<string, string>> = {},
  ) {
    this.#http = http;
    this.#path = path;
    this.#idOf = idOf;
    this.#query = query;
  }

  /** Keep a record current until the returned function is called. */
  show(id: string): () => void {
    this.#shown.set(id, (this.#shown.get(id) ?? 0) + 1);
    if (!this.byId.value.has(id)) this.#touch(id);
    return () => {
      const left = (this.#shown.get(id) ?? 0) - 1;
      if (left > 0) this.#shown.set(id, left);
      else this.#shown.delete(id);
    };
  }

  changed(changes: readonly Change[]): void {
    const ids = new Set<string>();
    for (const { task } of changes) {
      const id = this.#idOf(task);
      if (id !== undefined) ids.add(id);
    }
    const known = new Map(this.byId.value);
    for (const id of ids) {
      if (this.#shown.has(id)) this.#touch(id);
      else known.delete(id); // Read when it is on the screen again.
    }
    if (known.size < this.byId.value.size) this.byId.value = known;
  }

  resync(): void {
    const shown = [...this.byId.value].filter(([id]) => this.#shown.has(id));
    this.byId.value = new Map(shown);
    for (const id of this.#shown.keys()) this.#touch(id);
  }

  #touch(id: string): void {
    if (this.#stale.has(id)) return;
    this.#stale.add(id);
    const calm = (this.#readAt.get(id) ?? 0) + CALM_MS - Date.now();
    if (calm <= 0) return void this.#read();
    const read = () => {
      this.#readAt.delete(id); // The timer has the last word: the clock may have been set back.
      void this.#read();
    };
    setTimeout(read, Math.min(calm, CALM_MS));
  }

  /** Read stale records one after the other. Those that have left the screen meanwhile are not. */
  async #read(): Promise<void> {
    if (this.#reading >= AT_ONCE) return;
    this.#reading++;
    try {
      for (let id = this.#next(); id !== undefined; id = this.#next()) {
        this.#stale.delete(id);
        if (!this.#shown.has(id)) continue;
        this.#readAt.set(id, Date.now());
        const record = await this.#http
          .get<Item>(`${this.#path}/${encodeURIComponent(id)}`, { query: this.#query })
          .catch(() => undefined); // The row has its name and its link without it.
        if (record) this.byId.value = new Map(this.byId.value).set(id, record);
      }
    } finally {
      this.#reading--;
    }
  }

  /** A stale record that may be read now. */
  #next(): string | undefined {
    const now = Date.now();
    for (const id of this.#stale)
      if ((this.#readAt.get(id) ?? 0) + CALM_MS <= now) return id;
    return undefined;
  }
}
