/** One sweep: its tasks by status, its parameters, the best runs, and what can be done with it. */

import type { ComponentChildren } from "preact";
import type { CancelSweepResponse, RetrySweepResponse, Sweep } from "../../api/types";
import { plain, plural, shortId } from "../../format";
import { href, type ViewProps } from "../../router";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { CopyButton } from "../../ui/copy";
import { SweepTasks } from "../../ui/counts";
import { Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { perform, performIfConfirmed } from "../../ui/perform";
import { User } from "../../ui/task_link";
import { Ago } from "../../ui/time";
import { useChanges, useRead, useTitle } from "../../ui/use";
import { Best } from "./best";

const EVERY_MS = 15_000;

export default function SweepView({ params }: ViewProps) {
  const id = params.id ?? "";
  const path = `/v1/sweeps/${encodeURIComponent(id)}`;
  const resource = useRead<Sweep>(path, {}, EVERY_MS);
  const sweep = resource.data.value;
  useTitle(sweep ? plain(sweep.name ?? "") : "Sweep");
  useChanges(resource, (task) => task.sweep_id === id, [id]);
  return (
    <div class="view">
      <header class="view-head">
        <h1 class="experiment-name">{sweep ? plain(sweep.name ?? "") : "Sweep"}</h1>
        <span class="task-id">
          {shortId(id)} <CopyButton text={id} what="the id" />
        </span>
        <User name={sweep?.user_id} />
        <span class="muted">
          <Ago at={sweep?.created_at} />
        </span>
        {sweep && <Actions sweep={sweep} path={path} onChange={() => void resource.refresh()} />}
      </header>
      <Problem text={resource.error.value} retry={() => void resource.refresh()} />
      {sweep ? (
        <>
          <Panel
            title="Tasks"
            aside={
              <a href={href(["tasks"], { sweep: id, user: "*", columns: COLUMNS })}>
                All {plural(sweep.total ?? 0, "task")}
              </a>
            }
          >
            <div class="panel-body">
              <SweepTasks sweep={sweep} />
            </div>
          </Panel>
          <Definition sweep={sweep} />
          <Best path={`${path}/best`} completed={sweep.counts?.completed ?? 0} />
        </>
      ) : (
        !resource.error.value && <Loading />
      )}
    </div>
  );
}

const COLUMNS = "status,task,parameters,why,created,time";

function Definition({ sweep }: { sweep: Sweep }) {
  return (
    <Panel title="Parameters" aside={sweep.mode}>
      <dl class="facts panel-body">
        {Object.entries(sweep.parameters ?? {}).map(([name, values]) => (
          <Fact key={name} name={plain(name)}>
            <code class="wrapped">{plain(values)}</code>
          </Fact>
        ))}
        {sweep.mode === "random" && <Fact name="Random seed">{sweep.random_seed}</Fact>}
        {sweep.max_parallel ? (
          <Fact name="Parallel tasks">at most {sweep.max_parallel}</Fact>
        ) : null}
      </dl>
    </Panel>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

type Change = CancelSweepResponse | RetrySweepResponse;

interface ActionsProps {
  sweep: Sweep;
  path: string;
  onChange: () => void;
}

function Actions({ sweep, path, onChange }: ActionsProps) {
  const isOwn = store.mayEnd(sweep.user_id);
  const counts = sweep.counts ?? {};
  const ended = (counts.completed ?? 0) + (counts.failed ?? 0) + (counts.deleted ?? 0);
  const live = (sweep.total ?? 0) - ended;
  const failed = counts.failed ?? 0;

  async function change(action: "cancel" | "retry", done: string): Promise<string> {
    const { tasks = 0 } = await store.http.call<Change>("POST", `${path}/${action}`);
    onChange();
    return `${plural(tasks, "task")} ${done}`;
  }

  function cancel(): Promise<boolean> {
    const question = {
      title: `Cancel ${plural(live, "task")} of ${plain(sweep.name ?? "")}?`,
      text: "Those that wait will not start; those that run are ended. Ended tasks stay as they are.",
      action: `Cancel ${plural(live, "task")}`,
    };
    return performIfConfirmed(question, () => change("cancel", "cancelled"));
  }

  if (!isOwn) return null;
  return (
    <span class="view-action">
      {live > 0 && (
        <SmallButton onClick={() => void cancel()}>
          Cancel all
        </SmallButton>
      )}{" "}
      {failed > 0 && (
        <SmallButton onClick={() => void perform(() => change("retry", "submitted again"))}>
          Retry {plural(failed, "failed task")}
        </SmallButton>
      )}
    </span>
  );
}
