/** Beside the form: what is free, and what the server would make of the request. */

import type { CreateTaskRequest } from "../../api/types";
import { count, ms, plain, plural, relative } from "../../format";
import { now } from "../../state/clock";
import type { FormCheck } from "../../state/form_check";
import { store } from "../../state/store";
import { cliCommand } from "../../state/task_form";
import { CopyButton } from "../../ui/copy";
import { Icon } from "../../ui/icon";
import { Panel } from "../../ui/panel";
import { useResource } from "../../ui/use";
import type { Accepted } from "./index";

const EVERY_MS = 10_000;

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
  check: FormCheck<CreateTaskRequest, Accepted>;
  request: CreateTaskRequest;
  faults: ReadonlyMap<string, string>;
}

export function Forecast({ check, request, faults }: Props) {
  const accepted = faults.size === 0 ? check.accepted.value : undefined;
  const wrong = faults.size + check.errors.value.size;
  const command = cliCommand(request);
  return (
    <Panel title="This task">
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
        {accepted && <Start accepted={accepted} />}
        {accepted && (
          <dl class="facts">
            <dt>Image</dt>
            <dd>{plain(accepted.image ?? "")}</dd>
            <dt>Command</dt>
            <dd>
              <code>{plain([...(accepted.command ?? []), accepted.args ?? ""].join(" "))}</code>
            </dd>
          </dl>
        )}
        {accepted && (
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

function Start({ accepted }: { accepted: Accepted }) {
  const half = ms(accepted.start_estimate?.p50);
  const most = ms(accepted.start_estimate?.p90);
  if (half === undefined || most === undefined)
    return <p class="muted">There is no estimate of its start yet.</p>;
  const soon = 5_000 + now.value;
  return (
    <p>
      Estimated start: <b>{half <= soon ? "at once" : relative(half, now.value)}</b>
      {most > soon && <span class="muted">, nine of ten times {relative(most, now.value)}</span>}
    </p>
  );
}
