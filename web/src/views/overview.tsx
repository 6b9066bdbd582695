/** The first view: GPUs, what waits, what runs, today, and what ended last. */

import type { GpuList, RunList, Task, Waiting } from "../api/model";
import { count, duration, ms, plain, plural, relative } from "../format";
import { href } from "../router";
import { now, slowNow } from "../state/clock";
import { headline, latestText } from "../state/latest";
import { store } from "../state/store";
import { GpuCard } from "../ui/gpu_card";
import { Meter } from "../ui/meter";
import { NodeTable, nodeSummary } from "../ui/node_table";
import { Empty, Loading, Problem } from "../ui/notes";
import { Panel } from "../ui/panel";
import { StatusBadge } from "../ui/status";
import { TaskLink, User } from "../ui/task_link";
import { Ago, RunTime } from "../ui/time";
import { useCurrentTasks, useRead, useResource, useTitle } from "../ui/use";

const GPUS_EVERY_MS = 5_000;
const QUEUE_EVERY_MS = 15_000;
const HISTORY_EVERY_MS = 60_000;
/** The GPU view has all of them. */
const SHOWN_NODES = 8;

export default function Overview() {
  useTitle("");
  useCurrentTasks();
  return (
    <div class="view overview">
      <header class="view-head">
        <h1>Overview</h1>
        <Today />
      </header>
      <Problem text={store.current.problem.value} retry={() => void store.current.resync()} />
      <Gpus />
      <div class="overview-columns">
        <Running />
        <Queue />
      </div>
      <Results />
    </div>
  );
}

function Today() {
  const stats = useResource(store.stats, QUEUE_EVERY_MS).data.value;
  if (!stats) return null;
  const parts = [
    ["running", stats.running, { status: "preparing,running,collecting" }],
    ["waiting", stats.queued, { status: "queued" }],
    ["completed today", stats.completed, { status: "completed" }],
    ["failed today", stats.failed, { status: "failed" }],
  ] as const;
  return (
    <ul class="today" aria-label="Numbers">
      {parts.map(([name, value, query]) => (
        <li key={name}>
          <a href={href(["tasks"], { ...query, user: "*" })}>
            <b class="number">{count(value)}</b> {name}
          </a>
        </li>
      ))}
    </ul>
  );
}

function Gpus() {
  const resource = useResource(store.gpus, GPUS_EVERY_MS);
  const history = useResource(store.gpuHistory, HISTORY_EVERY_MS).data.value;
  const tracks = new Map(history?.gpus?.map((track) => [track.uuid, track]));
  const list = resource.data.value;
  if (!list) return <Problem text={resource.error.value} />;
  const nodes = list.nodes ?? [];
  if (nodes.length > 0) {
    return (
      <Panel title="Nodes" aside={<a href={href(["gpus"])}>{nodeSummary(list)}</a>}>
        <NodeTable nodes={nodes.slice(0, SHOWN_NODES)} />
      </Panel>
    );
  }
  if (list.gpus.length === 0) return null;
  return (
    <Panel title="GPUs" aside={gpuSummary(list)}>
      <Problem text={list.problem ? plain(list.problem) : undefined} />
      <ul class="gpu-strip">
        {list.gpus.map((gpu) => (
          <GpuCard key={gpu.uuid} gpu={gpu} history={history} track={tracks.get(gpu.uuid)} />
        ))}
      </ul>
    </Panel>
  );
}

function gpuSummary(list: GpuList): string {
  const free = list.gpus.filter((gpu) => gpu.state === "free").length;
  return `${count(free)} of ${count(list.gpus.length)} free`;
}

function Running() {
  const tasks = store.current.running.value;
  return (
    <Panel title="Running" aside={<span class="number">{count(tasks.length)}</span>}>
      {!store.current.loaded.value ? (
        <Loading />
      ) : tasks.length === 0 ? (
        <Empty>
          Nothing runs.
          {store.maySubmit.value && (
            <>
              {" "}
              <a href={href(["submit"])}>Submit a task</a>
            </>
          )}
        </Empty>
      ) : (
        <ul class="rows">
          {tasks.map((task) => (
            <RunningRow key={task.id} task={task} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

function RunningRow({ task }: { task: Task }) {
  return (
    <li class="row">
      <StatusBadge task={task} />
      <div class="row-main">
        <TaskLink task={task} />
        <div class="row-detail">
          <User name={task.user_id} />
          {task.gpu ? <span>{plural(task.gpu, "GPU")}</span> : null}
          {task.progress && <span class="clipped">{plain(task.progress)}</span>}
        </div>
        <TimeLimit task={task} />
      </div>
      <div class="row-aside">
        <RunTime task={task} />
      </div>
    </li>
  );
}

/** How much of its time limit a task has used. */
function TimeLimit({ task }: { task: Task }) {
  const from = ms(task.started_at);
  if (from === undefined || !task.timeout_seconds || task.status !== "running") return null;
  const limit = task.timeout_seconds * 1000;
  const share = (now.value - from) / limit;
  const left = duration(Math.max(0, limit - (now.value - from)));
  return (
    <div class="time-limit">
      <Meter
        value={share}
        label={`Used of the time limit of ${duration(limit)}`}
        tone={share > 0.9 ? "warning" : "plain"}
      />
      <span class="muted number">{left} left</span>
    </div>
  );
}

function Queue() {
  const resource = useResource(store.waiting, QUEUE_EVERY_MS);
  const list = resource.data.value;
  const total = list?.total ?? 0;
  return (
    <Panel title="Queue" aside={<span class="number">{count(total)}</span>}>
      <Problem text={resource.error.value} retry={() => void resource.refresh()} />
      {!list ? (
        !resource.error.value && <Loading />
      ) : list.waiting.length === 0 ? (
        <Empty>Nothing waits.</Empty>
      ) : (
        <>
          <ol class="rows">
            {list.waiting.map((waiting) => (
              <QueueRow key={waiting.task.id} waiting={waiting} />
            ))}
          </ol>
          {total > list.waiting.length && (
            <p class="rows-more">
              <a href={href(["tasks"], { status: "queued", user: "*" })}>
                {count(total - list.waiting.length)} more
              </a>
            </p>
          )}
        </>
      )}
    </Panel>
  );
}

function QueueRow({ waiting }: { waiting: Waiting }) {
  const { task, position, reason, estimate } = waiting;
  const start = ms(estimate?.p50);
  return (
    <li class="row">
      <span class="row-position number">
        {position === undefined ? (
          ""
        ) : (
          <>
            <span class="off-screen">Position </span>
            {count(position)}
          </>
        )}
      </span>
      <div class="row-main">
        <TaskLink task={task} />
        <div class="row-detail">
          <User name={task.user_id} />
          <span class="clipped" title={reason}>
            {reason ? plain(reason) : ""}
          </span>
        </div>
      </div>
      <div class="row-aside">
        {start === undefined ? (
          <Ago at={task.created_at} />
        ) : (
          <span title="Estimated start: half of such tasks start by then">
            {start <= slowNow.value ? "soon" : relative(start, slowNow.value)}
          </span>
        )}
      </div>
    </li>
  );
}

function Results() {
  const tasks = store.current.ended.value;
  if (!store.current.loaded.value) return null;
  return (
    <Panel
      title="Latest results"
      aside={<a href={href(["tasks"], { status: "completed,failed" })}>All ended tasks</a>}
    >
      {tasks.length === 0 ? (
        <Empty>No task has ended.</Empty>
      ) : (
        <ul class="rows">
          {tasks.map((task) => (
            <ResultRow key={task.id} task={task} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

function ResultRow({ task }: { task: Task }) {
  return (
    <li class="row">
      <StatusBadge task={task} />
      <div class="row-main">
        <TaskLink task={task} />
        <div class="row-detail">
          <User name={task.user_id} />
          {task.error ? (
            <span class="clipped" title={task.error}>
              {plain(task.error)}
            </span>
          ) : (
            <Metrics task={task} />
          )}
        </div>
      </div>
      <div class="row-aside">
        <Ago at={task.ended_at} />
      </div>
    </li>
  );
}

/** The values that a task reported last. */
function Metrics({ task }: { task: Task }) {
  const runs = useRead<RunList>("/v1/runs", { task_id: task.id, limit: 5 }).data.value?.runs;
  const latest = (runs ?? []).flatMap((run) => run.metrics ?? []);
  return (
    <span class="clipped">
      {headline(latest).map((point) => (
        <span key={point.name} class="result-metric">
          {plain(point.name)} <b class="number">{latestText(point)}</b>
        </span>
      ))}
    </span>
  );
}
