/** Beside the form: what is free, and what the server would make of the request. */

import type { StartEstimate, Task } from "../../api/model";
import type { CreateSweepRequest, CreateTaskRequest, Sweep } from "../../api/types";
import { count, ms, plain, plural, relative } from "../../format";
import { slowNow } from "../../state/clock";
import type { FormCheck } from "../../state/form_check";
import { store } from "../../state/store";
import { sweepCommand, type SweepForm } from "../../state/sweep_form";
import { cliCommand } from "../../state/task_form";
import { CopyButton } from "../../ui/copy";
import { Icon } from "../../ui/icon";
import { Panel } from "../../ui/panel";
import { useResource } from "../../ui/use";
import { Labels } from "../tasks/columns";

const EVERY_MS = 10_000;

/** One task, or many of the same request. */
export type Wanted = { task: CreateTaskRequest } | { sweep: CreateSweepRequest };

/** What the server makes of a request: the task or the sweep as it would be, without an id. */
export type Accepted = { task: Omit<Task, "id"> } | { sweep: Sweep };

export function Free() {
  const gpus = useResource(store.gpus, EVERY_MS).data.value?.gpus;
  const stats = useResource(store.stats, EVERY_MS).data.value;
  const free = gpus?.filter((gpu) => gpu.state === "free").length;
  return (
    <Panel title="Free now">
      <dl class="facts">
        <dt>GPUs</dt>
        <dd class="number">
          {gpus === undefined ? "…" : gpus.length === 0 ? "none here" : `${count(free ?? 0)} of ${count(gpus.length)}`}
        </dd>
        <dt>Running</dt>
        <dd class="number">{stats ? plural(stats.running, "task") : "…"}</dd>
        <dt>Waiting</dt>
        <dd class="number">{stats ? plural(stats.queued, "task") : "…"}</dd>
      </dl>
    </Panel>
  );
}

interface Props {
  check: FormCheck<Wanted, Accepted>;
  wanted: Wanted;
  sweep: SweepForm;
  faults: ReadonlyMap<string, string>;
}

export function Forecast({ check, wanted, sweep, faults }: Props) {
  const isSweep = "sweep" in wanted;
  const answer = faults.size === 0 ? check.accepted.value : undefined;
  // Until the server has answered, the last answer may be to the other kind of request.
  const accepted = answer && "sweep" in answer === isSweep ? answer : undefined;
  const wrong = new Set([...faults.keys(), ...check.errors.value.keys()]).size;
  const command = isSweep ? sweepCommand(sweep, wanted.sweep) : cliCommand(wanted.task);
  return (
    <Panel title={isSweep ? "This sweep" : "This task"}>
      <div class="panel-body forecast">
        <p class={accepted ? "forecast-good" : "forecast-open"} role="status">
          {accepted ? (
            <>
              <Icon name="completed" /> The server accepts it
            </>
          ) : check.isChecking.value ? (
            "Checking…"
          ) : wrong > 0 ? (
            <>
              <Icon name="info" /> {plural(wrong, "field")} to fill in or change
            </>
          ) : (
            "Not accepted"
          )}
        </p>
        {accepted &&
          ("sweep" in accepted ? <Many sweep={accepted.sweep} /> : <One task={accepted.task} />)}
        {accepted && command !== undefined && (
          <details>
            <summary>The same in a terminal</summary>
            <div class="command">
              <code>{plain(command)}</code>
              <CopyButton text={command} what="the command" />
            </div>
          </details>
        )}
      </div>
    </Panel>
  );
}

function One({ task }: { task: Omit<Task, "id"> }) {
  return (
    <>
      <Start estimate={task.start_estimate} />
      <dl class="facts">
        <dt>Image</dt>
        <dd>{plain(task.image ?? "")}</dd>
        <dt>Command</dt>
        <dd>
          <code>{commandOf(task)}</code>
        </dd>
      </dl>
    </>
  );
}

/** The number of tasks, and the first of them. */
function Many({ sweep }: { sweep: Sweep }) {
  const { total = 0, tasks = [] } = sweep;
  return (
    <>
      <p>
        <b>{plural(total, "task")}</b>
        {total > tasks.length && `, of which the first ${tasks.length} are`}
      </p>
      <ol class="first-tasks">
        {tasks.map((task, index) => (
          <li key={index}>
            <Labels labels={task.parameters} />
            <code class="wrapped">{commandOf(task)}</code>
          </li>
        ))}
      </ol>
    </>
  );
}

function commandOf({ command, args }: Pick<Partial<Task>, "command" | "args">): string {
  return plain([...(command ?? []), args ?? ""].join(" ").trim());
}

function Start({ estimate }: { estimate: StartEstimate | undefined }) {
  const half = ms(estimate?.p50);
  const most = ms(estimate?.p90);
  if (half === undefined || most === undefined)
    return <p class="muted">There is no estimate of its start yet.</p>;
  const soon = 5_000 + slowNow.value;
  return (
    <p>
      Estimated start: <b>{half <= soon ? "at once" : relative(half, slowNow.value)}</b>
      {most > soon && <span class="muted">, nine of ten times {relative(most, slowNow.value)}</span>}
    </p>
  );
}
