/** Actions on many tasks: one request for each, some at a time, with one report at the end. */

import { signal } from "@preact/signals";
import { ApiError, message, type Http } from "../../api/http";
import type { TaskList } from "../../api/model";
import { toApi, type Filter } from "../../filters";
import { MOST } from "./selection";

const AT_ONCE = 6;
const PAGE = 1000;

export interface Outcome {
  done: number;
  /** Message of the failure → how many tasks it concerns. */
  failures: ReadonlyMap<string, number>;
}

export interface Running {
  name: string;
  done: number;
  total: number;
  stop: () => void;
}

/** The action that is being carried out. */
export const running = signal<Running | undefined>(undefined);

/** Carry out `act` for each id. Goes on past failures; ends early if the person stops it. */
export async function forEach(
  name: string,
  ids: readonly string[],
  act: (id: string) => Promise<unknown>,
): Promise<Outcome> {
  const failures = new Map<string, number>();
  let next = 0;
  let done = 0;
  let isStopped = false;
  const stop = () => {
    isStopped = true;
  };
  const report = () => {
    running.value = { name, done: next, total: ids.length, stop };
  };
  const worker = async () => {
    while (!isStopped && next < ids.length) {
      const id = ids[next++] as string;
      report();
      try {
        await act(id);
        done++;
      } catch (error) {
        const text = message(error);
        failures.set(text, (failures.get(text) ?? 0) + 1);
        if (error instanceof ApiError && error.status === 401) isStopped = true;
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    running.value = undefined;
  }
  return { done, failures };
}

/** Return the ids of all tasks that match, read or not, up to the most that an action takes. */
export async function allMatching(http: Http, filter: Filter): Promise<{ id: string }[]> {
  const found: { id: string }[] = [];
  let token: string | undefined;
  do {
    const query = { ...toApi(filter), page_size: PAGE, page_token: token };
    const page = await http.get<TaskList>("/v1/tasks", { query });
    found.push(...page.tasks.map(({ id }) => ({ id })));
    token = page.next_page_token;
  } while (token !== undefined && found.length < MOST);
  return found.slice(0, MOST);
}
