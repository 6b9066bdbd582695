/** One task, read once and then kept by the changes. */

import { signal } from "@preact/signals";
import { ApiError, isAbort, mayPass, message, type Http } from "../api/http";
import type { Change } from "../api/live_socket";
import type { Task } from "../api/model";
import { isNewer, type Follower } from "./tasks";

export class TaskModel implements Follower {
  readonly task = signal<Task | undefined>(undefined);
  readonly problem = signal<string | undefined>(undefined);
  /** Whether there is no such task, or it was deleted. */
  readonly isGone = signal(false);
  readonly id: string;

  readonly #http: Http;
  #reading: AbortController | null = null;

  constructor(http: Http, id: string) {
    this.#http = http;
    this.id = id;
  }

  /** Returns false if it has to be tried again. */
  async load(): Promise<boolean> {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    try {
      const path = `/v1/tasks/${encodeURIComponent(this.id)}`;
      const query = { view: "full" };
      const { output: _, ...task } = await this.#http.get<Task>(path, {
        query,
        signal: reading.signal,
      });
      if (isNewer(this.task.value, task)) this.task.value = task;
      this.problem.value = undefined;
    } catch (error) {
      if (isAbort(error)) return true; // By a later reading.
      if (error instanceof ApiError && error.status === 404) this.isGone.value = true;
      else this.problem.value = message(error);
      return !mayPass(error);
    }
    return true;
  }

  stop(): void {
    this.#reading?.abort();
  }

  changed(changes: readonly Change[]): void {
    for (const { task, deleted } of changes) {
      if (task.id !== this.id) continue;
      if (deleted) this.isGone.value = true;
      else if (isNewer(this.task.value, task)) this.task.value = task;
    }
  }

  resync(): Promise<boolean> {
    return this.load();
  }
}
