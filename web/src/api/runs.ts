/** The runs of an experiment with their results. */

import type { Run } from "../state/runs";
import { valuesOf } from "../state/runs";
import type { Http } from "./http";
import type { ExperimentResult, ExperimentResults } from "./model";

export interface Runs {
  runs: Run[];
  total: number;
}

export async function readRuns(http: Http, id: string, signal: AbortSignal): Promise<Runs> {
  const reply = await http.get<ExperimentResults>(
    `/v1/experiments/${encodeURIComponent(id)}/results`,
    { query: { limit: 1000 }, signal },
  );
  return { runs: reply.results.map(runOf), total: reply.total };
}

function runOf(result: ExperimentResult): Run {
  const from = Date.parse(result.started_at ?? "");
  const to = Date.parse(result.ended_at ?? "");
  return {
    id: result.task_id,
    name: result.job_name,
    status: result.status,
    user: result.user_id,
    duration: Number.isNaN(to - from) ? undefined : to - from,
    createdAt: result.created_at,
    values: valuesOf({
      command: result.command,
      args: result.args,
      labels: result.metadata,
      metrics: result.metrics,
    }),
  };
}
