/** Hooks that views share. */

import { useEffect } from "preact/hooks";
import type { Resource } from "../state/resource";

/** Keep a resource fresh while the component is shown; `every`: read it so often (ms). */
export function useResource<T>(resource: Resource<T>, every?: number): Resource<T> {
  useEffect(() => resource.use(every), [resource, every]);
  return resource;
}

/** Set the title of the browser's tab. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? "FetchML" : `${title} · FetchML`;
  }, [title]);
}
