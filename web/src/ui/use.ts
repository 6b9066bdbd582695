/** Hooks that views share. */

import { useEffect, useMemo } from "preact/hooks";
import type { Query } from "../api/http";
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

/** Set the title of the browser's tab. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? "FetchML" : `${title} · FetchML`;
  }, [title]);
}
