/** One task: what it is, where it stands, its log, outputs and use. */

import { useEffect, useMemo } from "preact/hooks";
import { ENDED, type RunList, type Task } from "../../api/model";
import { plain, shortId } from "../../format";
import { href, route, setQuery, type ViewProps } from "../../router";
import { store } from "../../state/store";
import { TaskModel } from "../../state/task";
import { CopyButton } from "../../ui/copy";
import { Check } from "../../ui/field";
import { useLoaded, type Load } from "../../ui/lazy";
import { Loading, Problem } from "../../ui/notes";
import { StatusBadge } from "../../ui/status";
import { User } from "../../ui/task_link";
import { useMedia, useRead, useTitle } from "../../ui/use";
import { Actions } from "./actions";
import Details from "./details";
import LogViewer from "./log/viewer";
import Outputs from "./outputs/outputs";
import { Ports } from "./ports";
import { Summary } from "./summary";
import { Timeline } from "./timeline";

const TABS = [
  ["log", "Log"],
  ["curves", "Curves"],
  ["outputs", "Outputs"],
  ["usage", "Usage"],
  ["details", "Details"],
  ["shell", "Shell"],
] as const;

export default function TaskView({ params }: ViewProps) {
  const id = params.id ?? "";
  const model = useMemo(() => new TaskModel(store.http, id), [id]);
  useEffect(() => {
    void model.load();
    const leave = store.follow(model);
    return () => {
      leave();
      model.stop();
    };
  }, [model]);
  const task = model.task.value;
  useTitle(task ? plain(task.job_name) : "Task");

  if (model.isGone.value)
    return (
      <div class="view">
        <h1>Not found</h1>
        <p>
          Task {plain(id)} not found. It may have been deleted. <a href={href(["tasks"])}>All tasks</a>
        </p>
      </div>
    );
  if (!task)
    return (
      <div class="view">
        <h1 class="off-screen">Task</h1>
        <Problem text={model.problem.value} retry={() => void model.load()} />
        {!model.problem.value && <Loading />}
      </div>
    );
  return (
    <div class="view task">
      <header class="task-head">
        <div class="task-title">
          <h1>{plain(task.job_name)}</h1>
          <StatusBadge task={task} />
          <span class="task-id">{shortId(task.id)}</span>
          <CopyButton text={task.id} what="the id" />
          <User name={task.user_id} />
        </div>
        <Actions task={task} />
      </header>
      <Ports task={task} />
      <Summary task={task} />
      <Timeline task={task} />
      <Tabs task={task} />
    </div>
  );
}

function Tabs({ task }: { task: Task }) {
  const asked = route.value.query.get("tab");
  const isOwn = store.mayEnd(task.user_id);
  const tabs = TABS.filter(([name]) => name !== "shell" || (isOwn && task.status === "running"));
  const tab = TABS.some(([name]) => name === asked) ? asked : "log";
  return (
    <div class="task-tabs">
      <nav class="task-tab-list" aria-label="Parts of the task">
        {tabs.map(([name, title]) => (
          <a
            key={name}
            class="task-tab"
            href={href(["tasks", task.id], { tab: name === "log" ? undefined : name })}
            aria-current={name === tab ? "page" : undefined}
          >
            {title}
          </a>
        ))}
      </nav>
      <div class="task-tab-body">
        {tab === "log" && <Log key={task.id} task={task} />}
        {tab === "curves" && <LazyPart key={task.id} load={curves} task={task} />}
        {tab === "outputs" && <Outputs key={task.id} task={task} />}
        {tab === "usage" && <LazyPart key={task.id} load={usage} task={task} />}
        {tab === "shell" && <LazyPart key={task.id} load={shell} task={task} />}
        {tab === "details" && <Details task={task} />}
      </div>
    </div>
  );
}

/** The log; on a wide window with the curves beside it, if the task logs any. */
function Log({ task }: { task: Task }) {
  const isWide = useMedia("(min-width: 1200px)");
  const asksFor = route.value.query.get("beside");
  const runs = useRead<RunList>("/v1/runs", { task_id: task.id, limit: 1 }, ENDED.has(task.status) ? undefined : RUNS_EVERY_MS);
  const hasCurves = isWide && (runs.data.value?.runs ?? []).length > 0;
  const isBeside = hasCurves && asksFor !== "0";
  return (
    <div class={isBeside ? "task-sides" : ""}>
      <div>
        {hasCurves && (
          <Check class="task-beside" isOn={isBeside} onChange={(isOn) => setQuery({ beside: isOn ? "" : "0" })}>
            Curves beside the log
          </Check>
        )}
        <LogViewer
          taskId={task.id}
          jobName={task.job_name}
          isLive={!ENDED.has(task.status)}
          attempts={task.attempt ?? 0}
        />
      </div>
      {isBeside && (
        <div class="task-side" tabIndex={0} role="region" aria-label="Curves">
          <LazyPart load={curves} task={task} />
        </div>
      )}
    </div>
  );
}

const RUNS_EVERY_MS = 5_000;

type Part = Load<{ task: Task }>;

// With their libraries.
const curves: Part = () => import("./curves");
const usage: Part = () => import("./usage");
const shell: Part = () => import("./shell");

function LazyPart({ load, task }: { load: Part; task: Task }) {
  const { View, problem } = useLoaded(load);
  if (problem) return <Problem text={problem} retry={() => location.reload()} />;
  return View ? <View task={task} /> : <Loading />;
}
