/** The steps of a task's current or last attempt, and its earlier attempts in words. */

import { ENDED, type Task, type TaskAttempt } from "../api/model";
import { ms, plural } from "../format";

export type Place = "past" | "now" | "future";
export type StepKind = "queued" | "prestaged" | "preparing" | "running" | "collecting" | "end";

export interface Step {
  kind: StepKind;
  place: Place;
  /** When the step began, RFC 3339; absent if it has not, or is not recorded. */
  at?: string;
}

const ORDER: readonly StepKind[] = [
  "queued",
  "prestaged",
  "preparing",
  "running",
  "collecting",
  "end",
];

/** The steps of the current or last attempt. It is queued from the end of the one before on. */
export function steps(task: Task): Step[] {
  const isEnded = ENDED.has(task.status);
  const current: StepKind = isEnded
    ? "end"
    : task.ahead
      ? "prestaged"
      : (task.status as StepKind);
  const isOver = task.earlier_attempts?.at(-1);
  const at: Partial<Record<StepKind, string | undefined>> = {
    queued: isOver?.exited_at ?? task.created_at,
    prestaged: wasPrestaged(task) ? task.begun_at : undefined,
    preparing: task.allocated_at,
    running: task.started_at,
    collecting: task.started_at === undefined ? undefined : task.exited_at,
    end: task.ended_at,
  };
  const kinds = ORDER.filter((kind) => {
    if (kind === "prestaged") return wasPrestaged(task);
    // A task that ended in the queue skips what lies between.
    const hasAttempt = !isEnded || task.started_at !== undefined || task.begun_at !== undefined;
    return hasAttempt || kind === "queued" || kind === "end";
  });
  return kinds.map((kind) => {
    const distance = ORDER.indexOf(kind) - ORDER.indexOf(current);
    let place: Place = distance < 0 ? "past" : distance === 0 ? "now" : "future";
    // A step that an end has skipped.
    const skips = kind === "running" || kind === "collecting";
    if (isEnded && skips && task.started_at === undefined) place = "future";
    const since = at[kind];
    return since === undefined ? { kind, place } : { kind, place, at: since };
  });
}

function wasPrestaged(task: Task): boolean {
  const begun = ms(task.begun_at);
  const allocated = ms(task.allocated_at);
  return task.ahead === true || (begun !== undefined && allocated !== undefined && begun < allocated);
}

const CAUSES: Readonly<Record<TaskAttempt["cause"], string>> = {
  retry: "retried",
  host_fault: "tried again: the fault was the host's, so it counts as no retry",
  preempted: "queued again, which counts as no retry",
  interrupted: "queued again, which counts as no retry",
  discarded: "queued again: its prestaged place was not used",
};

/** How an attempt ended, and why the task was queued again. */
export function outcome(attempt: TaskAttempt): string {
  const code = attempt.exit_code;
  const how =
    attempt.error ??
    (code !== undefined ? `exit code ${code}` : attempt.started_at ? "ended" : "never started");
  return `${how}; ${CAUSES[attempt.cause]}`;
}

/** How long its command ran, in ms; `undefined` if it was not started. */
export function ran(attempt: TaskAttempt): number | undefined {
  const from = ms(attempt.started_at);
  const to = ms(attempt.exited_at);
  return from === undefined || to === undefined ? undefined : Math.max(0, to - from);
}

/** How often it was tried, and why, in words; none of the first attempt. */
export function tries(task: Task): string[] {
  const parts = [];
  const attempt = task.attempt ?? 0;
  if (isBetweenAttempts(task) && attempt > 0) parts.push(`${plural(attempt, "attempt")} so far`);
  else if (attempt > 1) parts.push(`Attempt ${attempt}`);
  const { retry_count: used, max_retries: most, infra_retries: faults, preempted } = task;
  if (used) parts.push(`${used} of ${plural(most ?? 0, "retry", "retries")} used`);
  if (faults) parts.push(`${plural(faults, "retry", "retries")} after faults of the host`);
  if (preempted) parts.push(`preempted ${plural(preempted, "time")}`);
  return parts;
}

/** Whether the attempt of its number, if any, is over. */
function isBetweenAttempts(task: Task): boolean {
  return task.status === "queued" && task.ahead !== true;
}

/** The attempts that are over and not kept, as a range of numbers. */
export function missing(task: Task): { from: number; to: number } | undefined {
  const first = task.earlier_attempts?.[0]?.number;
  // Without any, the current one is the only one that is known.
  const to = (first ?? (task.attempt ?? 0) + (isBetweenAttempts(task) ? 1 : 0)) - 1;
  return to < 1 ? undefined : { from: 1, to };
}
