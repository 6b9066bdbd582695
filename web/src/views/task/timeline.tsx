/** The way of a task: the steps of its current attempt with their times, and each attempt before. */

import type { ComponentChildren } from "preact";
import { ENDED, type Task, type TaskAttempt } from "../../api/model";
import { duration, ms, plain, plural } from "../../format";
import { missing, outcome, ran, steps, tries, type Step } from "../../state/attempts";
import { now, slowNow } from "../../state/clock";
import { Icon, type IconName } from "../../ui/icon";
import { Meter } from "../../ui/meter";
import { shownStatus } from "../../ui/status";
import { At } from "../../ui/time";

/** More earlier attempts are folded. */
const OPEN_ATTEMPTS = 3;

export function Timeline({ task }: { task: Task }) {
  return (
    <div class="timeline-box">
      <ol class="timeline" aria-label="Timeline">
        {steps(task).map((step) => (
          <li
            key={step.kind}
            class={`step step-${step.place} ${isFailure(task, step) ? "step-failed" : ""}`}
            aria-current={step.place === "now" ? "step" : undefined}
          >
            <span class="step-mark">
              <Icon name={icon(task, step)} />
            </span>
            <span class="step-name">{name(task, step)}</span>
            <span class="step-detail">
              <Detail task={task} step={step} />
            </span>
          </li>
        ))}
      </ol>
      <Attempts task={task} />
    </div>
  );
}

function isFailure(task: Task, { kind }: Step): boolean {
  return kind === "end" && shownStatus(task) === "failed";
}

function icon(task: Task, { kind }: Step): IconName {
  if (kind === "end") return ENDED.has(task.status) ? shownStatus(task) : "completed";
  return kind === "prestaged" ? "preparing" : kind;
}

function name(task: Task, { kind }: Step): string {
  return kind === "end" && ENDED.has(task.status) ? capital(shownStatus(task)) : capital(kind);
}

function Detail({ task, step }: { task: Task; step: Step }): ComponentChildren {
  if (step.kind === "running")
    return <RunningDetail task={task} started={ms(task.started_at)} ended={ms(task.exited_at ?? task.ended_at)} />;
  const isPreparing = step.kind === "preparing" || step.kind === "prestaged";
  const progress = isPreparing && step.place === "now" ? task.progress : undefined;
  return (
    <>
      <At at={step.at} />
      {progress && (step.at ? ` · ${plain(progress)}` : plain(progress))}
    </>
  );
}

interface RunningProps {
  task: Task;
  started: number | undefined;
  ended: number | undefined;
}

function RunningDetail({ task, started, ended }: RunningProps) {
  if (started === undefined) return null;
  const ran = (ended ?? now.value) - started;
  const limit = (task.timeout_seconds ?? 0) * 1000;
  return (
    <>
      <At at={task.started_at} /> · {duration(ran)}
      {limit > 0 && task.status === "running" && (
        <>
          {" of "}
          {duration(limit)}
          <Meter
            value={ran / limit}
            label={`Used of the time limit of ${duration(limit)}`}
            tone={ran / limit > 0.9 ? "warning" : "plain"}
          />
        </>
      )}
    </>
  );
}

/** What was tried before, and when the next attempt begins. */
function Attempts({ task }: { task: Task }) {
  const parts = tries(task);
  const next = ms(task.not_before);
  const waits = task.status === "queued" && next !== undefined && next > slowNow.value;
  if (parts.length === 0 && !waits) return null;
  return (
    <>
      <p class="muted attempts">
        {parts.join(" · ")}
        {waits && (
          <>
            {parts.length > 0 && " · "}next attempt not before <At at={task.not_before} />
          </>
        )}
      </p>
      <EarlierAttempts task={task} />
    </>
  );
}

/** Newest first. */
function EarlierAttempts({ task }: { task: Task }) {
  const attempts = task.earlier_attempts ?? [];
  const lost = missing(task);
  const note = lost && (
    <p class="muted earlier">
      {lost.to > 1 ? `Attempts 1 to ${lost.to} are` : "Attempt 1 is"} not recorded.
    </p>
  );
  if (attempts.length === 0) return note;
  return (
    <details class="earlier" open={attempts.length <= OPEN_ATTEMPTS}>
      <summary>{plural(attempts.length, "earlier attempt")}</summary>
      <ol class="earlier-list" reversed aria-label="Earlier attempts">
        {attempts.toReversed().map((attempt) => (
          <EarlierAttempt key={attempt.number} attempt={attempt} />
        ))}
      </ol>
      {note}
    </details>
  );
}

function EarlierAttempt({ attempt }: { attempt: TaskAttempt }) {
  const time = ran(attempt);
  return (
    <li value={attempt.number}>
      <span>{plain(outcome(attempt))}</span>
      <span class="muted number">
        <At at={attempt.begun_at ?? attempt.started_at} /> to <At at={attempt.exited_at} />
        {time !== undefined && ` · ran ${duration(time)}`}
        {attempt.worker_id && ` · on ${plain(attempt.worker_id)}`}
      </span>
    </li>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
