/**
 * The tasks that hold resources and those that ended last: what the overview and the GPUs show.
 * They are read, and follow the changes, only while a view shows them.
 */

import { batch, signal } from "@preact/signals";
import { isAbort, mayPass, message, type Http } from "../api/http";
import type { Change } from "../api/live_socket";
import { ENDED, HOLDING, type Task, type TaskList } from "../api/model";
import { byAge, merged, type Follower } from "./tasks";

const SHOWN_ENDED = 15;
const HOLDING_STATES = [...HOLDING].join(",");
const ENDED_STATES = [...ENDED].join(",");

export class CurrentTasks implements Follower {
  /** In the order of their submission. */
  readonly running = signal<readonly Task[]>([]);
  /** The last end first; without tasks that were cancelled. */
  readonly ended = signal<readonly Task[]>([]);
  /** Whether they were read. */
  readonly loaded = signal(false);
  readonly problem = signal<string | undefined>(undefined);

  readonly #http: Http;
  readonly #user: () => string | undefined;
  #reading: AbortController | null = null;
  /** Changes that arrived while the tasks were read, to apply after it. */
  #early: Change[] = [];

  /** `user`: whose ended tasks are shown; `undefined`: everyone's. */
  constructor(http: Http, user: () => string | undefined) {
    this.#http = http;
    this.#user = user;
  }

  changed(changes: readonly Change[]): void {
    if (this.#reading) this.#early.push(...changes);
    const running = merged(this.running.value, changes, (task) => HOLDING.has(task.status));
    const ended = merged(this.ended.value, changes, (task) => this.#isResult(task));
    batch(() => {
      this.running.value = running;
      if (ended !== this.ended.value) this.ended.value = last(ended);
    });
  }

  async resync(): Promise<boolean> {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    this.#early = [];
    const read = (query: Record<string, string | number | undefined>) =>
      this.#http.get<TaskList>("/v1/tasks", { query: { ...query, view: "full" }, signal: reading.signal });
    try {
      const [running, ended] = await Promise.all([
        read({ limit: 200, states: HOLDING_STATES }),
        read({ limit: 40, states: ENDED_STATES, user_id: this.#user() }),
      ]);
      if (this.#reading !== reading) return true;
      batch(() => {
        this.running.value = running.tasks.filter((task) => HOLDING.has(task.status)).toSorted(byAge);
        this.ended.value = last(ended.tasks.filter((task) => this.#isResult(task)));
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
    this.running.value = this.ended.value = [];
    this.loaded.value = false;
    this.problem.value = undefined;
  }

  #isResult(task: Task): boolean {
    const user = this.#user();
    if (!ENDED.has(task.status) || task.failure_reason === "CANCELLED") return false;
    return user === undefined || task.user_id === user;
  }
}

function last(ended: readonly Task[]): Task[] {
  const byEnd = (one: Task, other: Task) => (other.ended_at ?? "").localeCompare(one.ended_at ?? "");
  return ended.toSorted(byEnd).slice(0, SHOWN_ENDED);
}
