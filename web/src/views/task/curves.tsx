/** What the runs of a task logged. */

import { ENDED, type Task } from "../../api/model";
import { Loading, Problem } from "../../ui/notes";
import Curves from "../curves";
import { useRuns } from "../runs/reading";

export default function TaskCurves({ task }: { task: Task }) {
  const isLive = !ENDED.has(task.status);
  const [runs, problem, retry] = useRuns({ task_id: task.id }, isLive);
  if (!runs) return problem ? <Problem text={problem} retry={retry} /> : <Loading />;
  return (
    <Curves
      runs={runs.filter((run) => run.metrics.length > 0)}
      empty={
        isLive
          ? "Nothing was logged yet. Metrics of MLflow, TensorBoard files, metrics.jsonl and metrics.json in the outputs appear here as curves."
          : "The task logged no metrics."
      }
    />
  );
}
