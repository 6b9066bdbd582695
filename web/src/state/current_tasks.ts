/**
 * The tasks that hold resources and those that failed last: what the overview and the GPUs show.
 * They are read, and follow the changes, only while a view shows them.
 */

import { batch, signal } from "@preact/signals";
import { isAbort, mayPass, message, type Http } from "../api/http";
import type { Change } from "../api/live_socket";
import { HOLDING, type Task, type TaskList } from "../api/model";
import { byAge, merged, type Follower } from "./tasks";

const SHOWN_FAILURES = 8;
const HOLDING_STATES = [...HOLDING].join(",");

export class CurrentTasks implements Follower {
  /** In the order of their submission. */
  readonly running = signal<readonly Task[]>([]);
  /** The last end first. */
  readonly failures = signal<readonly Task[]>([]);
  /** Whether they were read. */
  readonly loaded = signal(false);
  readonly problem = signal<string | undefined>(undefined);

  readonly #http: Http;
  readonly #user: () => string | undefined;
  #reading: AbortController | null = null;
  /** Changes that arrived while the tasks were read, to apply after it. */
  #early: Change[] = [];

  /** `user`: whose failures are shown; `undefined`: everyone's. */
  constructor(http: Http, user: () => string | undefined) {
    this.#http = http;
    this.#user = user;
  }

  changed(changes: readonly Change[]): void {
    if (this.#reading) this.#early.push(...changes);
    const running = merged(this.running.value, changes, (task) => HOLDING.has(task.status));
    const failures = merged(this.failures.value, changes, (task) => this.#isShownFailure(task));
    batch(() => {
      this.running.value = running;
      if (failures !== this.failures.value) this.failures.value = last(failures);
    });
  }

  async resync(): Promise<boolean> {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    this.#early = [];
    const read = (query: Record<string, string | number | undefined>) =>
      this.#http.get<TaskList>("/v1/tasks", { query: { ...query, view: "full" }, signal: reading.signal });
    try {
      const [running, failed] = await Promise.all([
        read({ limit: 200, states: HOLDING_STATES }),
        read({ limit: 40, status: "failed", user_id: this.#user() }),
      ]);
      if (this.#reading !== reading) return true;
      batch(() => {
        this.running.value = running.tasks.filter((task) => HOLDING.has(task.status)).toSorted(byAge);
        this.failures.value = last(failed.tasks.filter((task) => this.#isShownFailure(task)));
        this.loaded.value = true;
        this.problem.value = undefined;
        this.#reading = null;
        this.changed(this.#early); // An end is final, whatever the replies have.
      });
      return true;
    } catch (error) {
      if (isAbort(error)) return true; // By a later reading.
      this.problem.value = message(error);
      return !mayPass(error);
    } finally {
      if (this.#reading === reading) this.#reading = null;
    }
  }

  stop(): void {
    this.#reading?.abort();
    this.#reading = null;
  }

  /** Forget the tasks: another user may sign in. */
  clear(): void {
    this.stop();
    this.running.value = this.failures.value = [];
    this.loaded.value = false;
    this.problem.value = undefined;
  }

  #isShownFailure(task: Task): boolean {
    const user = this.#user();
    if (task.status !== "failed" || task.failure_reason === "CANCELLED") return false;
    return user === undefined || task.user_id === user;
  }
}

function last(failures: readonly Task[]): Task[] {
  const byEnd = (one: Task, other: Task) => (other.ended_at ?? "").localeCompare(one.ended_at ?? "");
  return failures.toSorted(byEnd).slice(0, SHOWN_FAILURES);
}
