/** The tasks of a sweep or an experiment by status: a bar of shares, and the numbers. */

import { STATUSES } from "../api/model";
import type { Experiment, Sweep, SweepCounts } from "../api/types";
import { count } from "../format";
import { href } from "../router";
import { StatusWord } from "./status";

/** Ended first, so that the bar fills from the left. */
const ORDER = ["completed", "failed", "collecting", "running", "preparing"] as const;

interface CountsProps {
  counts: Partial<SweepCounts>;
  /** Number of all tasks, deleted ones included. */
  total: number;
  /** The filter of the list of these tasks: each number leads to those of its status. */
  filter: Readonly<Record<string, string>>;
}

function Counts({ counts, total, filter }: CountsProps) {
  let at = 0;
  return (
    <>
      <svg class="counts-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="counts-bar-rest" width="100" height="6" />
        {ORDER.map((status) => {
          const width = (100 * (counts[status] ?? 0)) / (total || 1);
          const x = at;
          at += width;
          return <rect key={status} class={`status-${status}`} x={x} width={width} height="6" />;
        })}
      </svg>
      <ul class="counts">
        {STATUSES.filter((status) => counts[status]).map((status) => (
          <li key={status}>
            <a href={href(["tasks"], { ...filter, user: "*", status })}>
              <span class="number">{count(counts[status] ?? 0)}</span>{" "}
              <StatusWord status={status} />
            </a>
          </li>
        ))}
        {counts.deleted ? <li class="muted">{count(counts.deleted)} deleted</li> : null}
      </ul>
    </>
  );
}

export function SweepTasks({ sweep }: { sweep: Sweep }) {
  return (
    <Counts counts={sweep.counts ?? {}} total={sweep.total ?? 0} filter={{ sweep: sweep.id ?? "" }} />
  );
}

export function ExperimentTasks({ experiment }: { experiment: Experiment }) {
  const counts = experiment.counts ?? {};
  const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
  return <Counts counts={counts} total={total} filter={{ experiment: experiment.id ?? "" }} />;
}
