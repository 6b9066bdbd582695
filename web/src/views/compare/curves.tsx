/** The curves of compared runs, over each other. */

import type { LoggedRun } from "../../api/model";
import Curves from "../curves";
import { useRuns } from "../runs/reading";

interface Props {
  /** As they were read first. */
  runs: readonly LoggedRun[];
  names: ReadonlyMap<string, string>;
}

export default function ComparedCurves({ runs, names }: Props) {
  const [found] = useRuns({ ids: runs.map((run) => run.id) });
  const newest = new Map(found?.map((run) => [run.id, run]));
  // In the order of the comparison, so that colours and columns agree.
  const shown = runs.map((run) => newest.get(run.id) ?? run);
  return <Curves runs={shown} names={names} empty="None of these runs logged metrics." />;
}
