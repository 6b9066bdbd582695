/** Hooks that views share. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { isAbort, message, type Query } from "../api/http";
import type { Task } from "../api/model";
import { Resource } from "../state/resource";
import { store } from "../state/store";

/** Keep a resource fresh while the component is shown; `every`: read it so often (ms). */
export function useResource<T>(resource: Resource<T>, every?: number): Resource<T> {
  useEffect(() => resource.use(every), [resource, every]);
  return resource;
}

/** Read a path of the API, and keep what it returns fresh like `useResource`. */
export function useRead<T>(path: string, query: Query = {}, every?: number): Resource<T> {
  const resource = useMemo(
    () => new Resource((signal) => store.http.get<T>(path, { query, signal })),
    [path, JSON.stringify(query)],
  );
  return useResource(resource, every);
}

/** Keep the tasks that run, and those that failed last, while the component is shown. */
export function useCurrentTasks(): void {
  useEffect(() => store.useCurrent(), []);
}

/** Read something when `deps` change, unless the component is gone first or reads again. */
export function useReading(
  read: (signal: AbortSignal) => Promise<unknown> | undefined,
  setProblem: (problem: string) => void,
  deps: readonly unknown[],
): void {
  useEffect(() => {
    const reading = new AbortController();
    read(reading.signal)?.catch((error: unknown) => {
      if (!isAbort(error)) setProblem(message(error));
    });
    return () => reading.abort();
  }, [...deps]);
}

/** Read a resource again soon after a change of a task that concerns it. */
export function useChanges(
  resource: Resource<unknown>,
  concerns: (task: Task) => boolean,
  deps: readonly unknown[] = [],
): void {
  useEffect(
    () =>
      store.follow({
        changed: (changes) => {
          if (changes.some(({ task }) => concerns(task))) resource.touch();
        },
        resync: () => resource.touch(),
      }),
    [resource, ...deps],
  );
}

/** Set the title of the browser's tab. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? "FetchML" : `${title} · FetchML`;
  }, [title]);
}

/** Whether the window fits a media query. */
export function useMedia(query: string): boolean {
  const media = useMemo(() => matchMedia(query), [query]);
  const [fits, setFits] = useState(media.matches);
  useEffect(() => {
    const follow = () => setFits(media.matches);
    follow();
    media.addEventListener("change", follow);
    return () => media.removeEventListener("change", follow);
  }, [media]);
  return fits;
}
