/** Runs that views keep fresh while those log. */

import { useEffect } from "preact/hooks";
import type { Query } from "../../api/http";
import type { LoggedRun, RunList } from "../../api/model";
import { useRead } from "../../ui/use";

/** As many as one chart can tell apart, and as the server reads curves of at once. */
export const MOST_RUNS = 20;
const LIVE_EVERY_MS = 2_000;

/** Runs of a list, why they cannot be read, and how to try again. `isLive`: others may come. */
export function useRuns(
  query: Query,
  isLive = false,
): [readonly LoggedRun[] | undefined, string | undefined, () => void] {
  const list = useRead<RunList>("/v1/runs", { limit: MOST_RUNS, ...query });
  const runs = list.data.value?.runs;
  const logs = isLive || (runs ?? []).some((run) => isLogging(run));
  useEffect(() => {
    if (!logs) return;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") list.touch();
    }, LIVE_EVERY_MS);
    return () => {
      clearInterval(timer);
      void list.refresh(); // The last points.
    };
  }, [list, logs]);
  return [runs, list.error.value, () => void list.refresh()];
}

export function isLogging(run: LoggedRun): boolean {
  return run.status === "running" || run.status === "scheduled";
}
