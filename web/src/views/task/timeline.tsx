/** The way of a task: queued, preparing, running, collecting, ended, with the times that are known. */

import type { ComponentChildren } from "preact";
import { ENDED, type Task } from "../../api/model";
import { duration, ms, plain, plural } from "../../format";
import { now } from "../../state/clock";
import { Icon, type IconName } from "../../ui/icon";
import { Meter } from "../../ui/meter";
import { shownStatus } from "../../ui/status";
import { At } from "../../ui/time";

type Place = "past" | "now" | "future";

interface Step {
  name: string;
  icon: IconName;
  place: Place;
  detail: ComponentChildren;
}

export function Timeline({ task }: { task: Task }) {
  return (
    <div class="timeline-box">
      <ol class="timeline" aria-label="Timeline">
        {steps(task).map((step) => (
          <li
            key={step.name}
            class={`step step-${step.place}`}
            aria-current={step.place === "now" ? "step" : undefined}
          >
            <span class="step-mark">
              <Icon name={step.icon} />
            </span>
            <span class="step-name">{step.name}</span>
            <span class="step-detail">{step.detail}</span>
          </li>
        ))}
      </ol>
      <Attempts task={task} />
    </div>
  );
}

function steps(task: Task): Step[] {
  const { status } = task;
  const isEnded = ENDED.has(status);
  const started = ms(task.started_at);
  const ended = ms(task.ended_at);
  const order = ["queued", "preparing", "running", "collecting", "ended"];
  const at = isEnded ? 4 : order.indexOf(status);
  const place = (index: number): Place => (index < at ? "past" : index === at ? "now" : "future");
  const list: Step[] = [
    {
      name: task.ahead ? "Prestaged" : "Queued",
      icon: "queued",
      place: place(0),
      detail: <At at={task.created_at} />,
    },
  ];
  // A task that never started skips what follows.
  if (!isEnded || started !== undefined || (task.attempt ?? 0) > 0) {
    list.push({
      name: "Preparing",
      icon: "preparing",
      place: place(1),
      detail: at <= 1 && task.progress ? plain(task.progress) : "",
    });
    list.push({
      name: "Running",
      icon: "running",
      place: started === undefined && isEnded ? "future" : place(2),
      detail: <RunningDetail task={task} started={started} ended={ended} />,
    });
    list.push({
      name: "Collecting",
      icon: "collecting",
      place: place(3),
      detail: "",
    });
  }
  const shown = shownStatus(task);
  list.push({
    name: isEnded ? capital(shown) : "End",
    icon: isEnded ? shown : "completed",
    place: isEnded ? "now" : "future",
    detail: <At at={task.ended_at} />,
  });
  return list;
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
  const parts = [];
  const attempt = task.attempt ?? 0;
  if (attempt > 1) parts.push(`Attempt ${attempt}`);
  if (task.retry_count) parts.push(`${task.retry_count} of ${plural(task.max_retries ?? 0, "retry", "retries")} used`);
  if (task.infra_retries) parts.push(`${plural(task.infra_retries, "retry", "retries")} after faults of the host`);
  if (task.preempted) parts.push(`preempted ${plural(task.preempted, "time")}`);
  const next = ms(task.not_before);
  const waits = task.status === "queued" && next !== undefined && next > now.value;
  if (parts.length === 0 && !waits) return null;
  return (
    <p class="muted attempts">
      {parts.join(" · ")}
      {waits && (
        <>
          {parts.length > 0 && " · "}next attempt not before <At at={task.not_before} />
        </>
      )}
    </p>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
