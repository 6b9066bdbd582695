/** Times that stay true while the page is open. */

import type { Task } from "../api/model";
import { duration, exactTime, moment, ms, relative } from "../format";
import { now, slowNow } from "../state/clock";

/** `5 min ago`; the exact time is in the tooltip. */
export function Ago({ at }: { at: string | undefined }) {
  const time = ms(at);
  if (time === undefined) return null;
  return (
    <time dateTime={at} title={exactTime(time)}>
      {relative(time, slowNow.value)}
    </time>
  );
}

/** `14:03:12`, or with the date if it is not today. */
export function At({ at }: { at: string | undefined }) {
  const time = ms(at);
  if (time === undefined) return null;
  return (
    <time dateTime={at} title={exactTime(time)}>
      {moment(time, slowNow.value)}
    </time>
  );
}

/** How long the current attempt of a task has run, or ran. */
export function RunTime({ task }: { task: Task }) {
  const from = ms(task.started_at);
  if (from === undefined) return null;
  // Only what still runs follows the clock.
  const to = ms(task.ended_at) ?? now.value;
  return <span class="number">{duration(to - from)}</span>;
}
