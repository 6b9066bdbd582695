/** Why a task waits, what it does, or how it ended: in a sentence, with what to do. */

import { useEffect } from "preact/hooks";
import { ENDED, type StartEstimate, type Task, type TaskExplanation } from "../../api/model";
import { ms, plain, relative } from "../../format";
import { slowNow } from "../../state/clock";
import { Icon } from "../../ui/icon";
import { At } from "../../ui/time";
import { useRead } from "../../ui/use";
import { advice } from "./advice";

const WAITING_EVERY_MS = 10_000;

export function Summary({ task }: { task: Task }) {
  if (task.status === "failed") return <Failure task={task} />;
  if (ENDED.has(task.status)) return task.note ? <Note text={task.note} /> : null;
  return <Explanation task={task} />;
}

function Failure({ task }: { task: Task }) {
  const isCancelled = task.failure_reason === "CANCELLED";
  const hint = advice(task);
  return (
    <div class={isCancelled ? "summary" : "summary summary-failed"}>
      <Icon name={isCancelled ? "cancelled" : "failed"} />
      <div>
        <p class="summary-main">{plain(task.error ?? "The task failed.")}</p>
        {hint && <p class="muted">{hint}</p>}
        {task.note && <p class="muted">{plain(task.note)}</p>}
      </div>
    </div>
  );
}

function Note({ text }: { text: string }) {
  return (
    <div class="summary">
      <Icon name="info" />
      <p>{plain(text)}</p>
    </div>
  );
}

function Explanation({ task }: { task: Task }) {
  const { id } = task;
  const resource = useRead<TaskExplanation>(
    `/v1/tasks/${encodeURIComponent(id)}/explain`,
    {},
    task.status === "queued" ? WAITING_EVERY_MS : undefined,
  );
  useEffect(() => resource.touch(), [task]);
  const found = resource.data.value;
  const isIdle = task.idle_since !== undefined;
  if (!found || (task.status === "running" && !isIdle) || task.status === "collecting") {
    return task.cancel_requested_at ? (
      <Note text={`${task.cancel_requested_by ?? "A user"} cancelled it; it ends in a moment.`} />
    ) : null;
  }
  return (
    <div class="summary">
      <Icon name={isIdle ? "info" : task.status === "queued" ? "queued" : "preparing"} />
      <div>
        <p class="summary-main">
          {found.position !== undefined && <b>Position {found.position}. </b>}
          {plain(found.reason)}
        </p>
        <Missing explanation={found} />
        {found.progress && <p class="muted">{plain(found.progress)}</p>}
        <Estimate estimate={found.estimate} />
      </div>
    </div>
  );
}

/** Blocked GPUs that the reason itself names. */
const NAMED_BLOCKED = 4;

/** The name of each resource after the number 1, and after others. */
const RESOURCES: Readonly<Record<string, readonly [string, string]>> = {
  cpu: ["CPU core", "CPU cores"],
  memory_gb: ["GiB of memory", "GiB of memory"],
  gpu: ["GPU", "GPUs"],
  slots: ["slot for tasks", "slots for tasks"],
  user_gpus: ["GPU of your quota", "GPUs of your quota"],
  user_running: ["running task of your quota", "running tasks of your quota"],
};

function Missing({ explanation }: { explanation: TaskExplanation }) {
  const missing = explanation.missing ?? [];
  if (missing.length === 0) return null;
  return (
    <ul class="missing">
      {missing.map((one) => (
        <li key={one.resource}>
          Asks for <b class="number">{one.requested}</b>{" "}
          {RESOURCES[one.resource ?? ""]?.[one.requested === 1 ? 0 : 1] ?? plain(one.resource ?? "")};{" "}
          <b class="number">{one.free}</b> of {one.total} free.
          {(one.blocked?.length ?? 0) > NAMED_BLOCKED && one.blocked?.map((text) => (
            <span key={text} class="missing-blocked">
              {plain(text)}
            </span>
          ))}
        </li>
      ))}
    </ul>
  );
}

function Estimate({ estimate }: { estimate: StartEstimate | undefined }) {
  const half = ms(estimate?.p50);
  if (!estimate || half === undefined) return null;
  return (
    <p class="muted">
      Expected to start {half <= slowNow.value ? "soon" : relative(half, slowNow.value)} (
      <At at={estimate.p50} />
      {estimate.p90 && (
        <>
          ; by <At at={estimate.p90} /> in nine of ten cases
        </>
      )}
      ).
      {(estimate.checked ?? 0) >= 20 && (
        <> Earlier estimates held in {estimate.held_p50_percent} % of cases.</>
      )}
    </p>
  );
}
