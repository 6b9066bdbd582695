/** The tasks of a sweep by status: a bar of shares, and the numbers. */

import { STATUSES } from "../../api/model";
import type { Sweep } from "../../api/types";
import { count } from "../../format";
import { href } from "../../router";
import { StatusWord } from "../../ui/status";

/** Ended first, so that the bar fills from the left. */
const ORDER = ["completed", "failed", "collecting", "running", "preparing"] as const;

export function Counts({ sweep }: { sweep: Sweep }) {
  const counts = sweep.counts ?? {};
  const total = sweep.total || 1;
  let at = 0;
  return (
    <>
      <svg class="sweep-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="sweep-bar-rest" width="100" height="6" />
        {ORDER.map((status) => {
          const width = (100 * (counts[status] ?? 0)) / total;
          const x = at;
          at += width;
          return <rect key={status} class={`status-${status}`} x={x} width={width} height="6" />;
        })}
      </svg>
      <ul class="sweep-counts">
        {STATUSES.filter((status) => counts[status]).map((status) => (
          <li key={status}>
            <a href={href(["tasks"], { sweep: sweep.id, user: "*", status })}>
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
