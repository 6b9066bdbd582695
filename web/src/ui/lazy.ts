/** Parts of the page that load when they are first shown. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { message } from "../api/http";

export type Load<P> = () => Promise<{ default: ComponentType<P> }>;

const loaded = new Map<unknown, unknown>();

/** Return the component of a module, once it is there, and why it cannot be loaded. */
export function useLoaded<P>(load: Load<P>): { View?: ComponentType<P>; problem?: string } {
  const [, redraw] = useState(0);
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    if (loaded.has(load)) return;
    let isGone = false;
    load().then(
      (module) => {
        loaded.set(load, module.default);
        if (!isGone) redraw((value) => value + 1);
      },
      (error: unknown) => {
        // After an update of the server the files of this page are gone.
        if (!isGone) setProblem(`This part of the page cannot be loaded: ${message(error)}`);
      },
    );
    return () => {
      isGone = true;
    };
  }, [load]);
  const View = loaded.get(load) as ComponentType<P> | undefined;
  return { ...(View && { View }), ...(problem !== undefined && { problem }) };
}
