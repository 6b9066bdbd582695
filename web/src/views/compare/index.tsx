/** Some tasks or runs side by side: their curves, what differs, what made them, their code. */

import { useMemo, useState } from "preact/hooks";
import { ApiError } from "../../api/http";
import type { LoggedRun, RunList, Task } from "../../api/model";
import { plain, shortId } from "../../format";
import { href, route, setQuery } from "../../router";
import { compare, extremes, metricsIn, type Compared, type Row } from "../../state/comparison";
import { shown } from "../../state/runs";
import { store } from "../../state/store";
import { Check } from "../../ui/field";
import { useLoaded } from "../../ui/lazy";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { MOST_COMPARED } from "../../ui/selected";
import { StatusBadge } from "../../ui/status";
import { TaskLink, User } from "../../ui/task_link";
import { useReading, useTitle } from "../../ui/use";
import { Colour } from "../curves/colours";
import { RunLink, RunStatus } from "../runs/parts";
import { CodeDifferences } from "./code";
import { Made } from "./made";

/** What the address names: `task` or `run`, and the id. */
type Named = readonly [kind: string, id: string];

export default function Compare() {
  useTitle("Compare");
  const { query } = route.value;
  const text = [...query].filter(([kind]) => kind === "task" || kind === "run").map(([kind, id]) => `${kind} ${id}`);
  const named = [...new Set(text)].slice(0, MOST_COMPARED).map((one) => one.split(" ", 2) as unknown as Named);
  const showsAll = query.get("all") === "1";
  const [all, problem] = useCompared(named);
  const rows = all ? compare(all).filter((row) => showsAll || !row.isEqual) : [];
  const tasks = useMemo(() => (all ?? []).flatMap(({ task }) => task ?? []), [all]);
  const runs = useMemo(() => (all ?? []).flatMap((one) => one.runs ?? []).slice(0, MOST_COMPARED), [all]);
  return (
    <div class="view compare">
      <header class="view-head">
        <h1>Compare</h1>
        <Check class="view-action" isOn={showsAll} onChange={(isOn) => setQuery({ all: isOn ? "1" : "" })}>
          Show equal rows too
        </Check>
      </header>
      <Problem text={problem} />
      {named.length < 2 ? (
        <Empty>
          Select two to {MOST_COMPARED} <a href={href(["runs"])}>runs</a>, or tasks of an{" "}
          <a href={href(["experiments"])}>experiment</a>, or add them to the address:
          ?task=ID&run=ID.
        </Empty>
      ) : !all ? (
        !problem && <Loading />
      ) : (
        <>
          {runs.length > 0 && <LoggedCurves all={all} runs={runs} />}
          <Table all={all} rows={rows} runs={runs} />
          {tasks.length > 1 && <Made tasks={tasks} />}
          {tasks.length > 1 && <CodeDifferences tasks={tasks} />}
        </>
      )}
    </div>
  );
}

function useCompared(named: readonly Named[]): [readonly Compared[] | undefined, string | undefined] {
  const [all, setAll] = useState<readonly Compared[]>();
  const [problem, setProblem] = useState<string>();
  useReading(
    (signal) => {
      if (named.length < 2) return undefined;
      setAll(undefined);
      setProblem(undefined);
      const read = ([kind, id]: Named) => (kind === "run" ? readRun(id, signal) : readTask(id, signal));
      return Promise.all(named.map(read)).then(setAll);
    },
    setProblem,
    [named.join()],
  );
  return [all, problem];
}

async function readTask(id: string, signal: AbortSignal): Promise<Compared> {
  const path = `/v1/tasks/${encodeURIComponent(id)}`;
  const [task, { runs }] = await Promise.all([
    store.http.get<Task>(path, { query: { view: "full" }, signal }),
    store.http.get<RunList>("/v1/runs", { query: { task_id: id, limit: MOST_COMPARED }, signal }),
  ]);
  if (runs.some((run) => run.metrics.length > 0)) return { task, runs };
  return { task, runs, metrics: await ifFound(readMetrics(path, signal)) ?? {} };
}

async function readMetrics(path: string, signal: AbortSignal): Promise<Record<string, number>> {
  const reply = await store.http.send("GET", `${path}/outputs/metrics.json`, { signal });
  return metricsIn(await reply.text());
}

async function readRun(id: string, signal: AbortSignal): Promise<Compared> {
  const run = await store.http.get<LoggedRun>(`/v1/runs/${encodeURIComponent(id)}`, { signal });
  if (run.task_id === undefined) return { runs: [run] };
  const path = `/v1/tasks/${encodeURIComponent(run.task_id)}`;
  const task = await ifFound(store.http.get<Task>(path, { query: { view: "full" }, signal }));
  return { task, runs: [run] };
}

/** Most tasks have no metrics.json, and a run may outlive its task. */
async function ifFound<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}

interface CurvesProps {
  all: readonly Compared[];
  runs: readonly LoggedRun[];
}

// With the library that draws.
const curves = () => import("./curves");

function LoggedCurves({ all, runs }: CurvesProps) {
  const { View, problem } = useLoaded(curves);
  const names = useMemo(() => namesOf(all, runs), [all, runs]);
  return (
    <Panel title="Curves">
      {problem ? <Problem text={problem} retry={() => location.reload()} /> : View ? <View runs={runs} names={names} /> : <Loading />}
    </Panel>
  );
}

/** Names of runs for a legend, which tell apart those of the same name. */
function namesOf(all: readonly Compared[], runs: readonly LoggedRun[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const { task, runs: own = [] } of all)
    for (const run of own) names.set(run.id, task && own.length === 1 ? task.job_name : run.name);
  const times = new Map<string, number>();
  for (const name of names.values()) times.set(name, (times.get(name) ?? 0) + 1);
  for (const { id } of runs) {
    const name = names.get(id) ?? "";
    if ((times.get(name) ?? 0) > 1) names.set(id, `${name} ${shortId(id)}`);
  }
  return names;
}

interface TableProps {
  all: readonly Compared[];
  rows: readonly Row[];
  runs: readonly LoggedRun[];
}

function Table({ all, rows, runs }: TableProps) {
  const groups = [...new Set(rows.map((row) => row.group))];
  return (
    <div class="panel">
      <div class="table-box" tabIndex={0} role="region" aria-label="Differences">
        <table class="table compare-table">
          <thead>
            <tr>
              <td />
              {all.map((one, index) => (
                <th key={index} scope="col">
                  <Head compared={one} runs={runs} />
                </th>
              ))}
            </tr>
          </thead>
          {groups.map((group) => (
            <tbody key={group}>
              <tr class="compare-group">
                <th scope="rowgroup" colSpan={all.length + 1}>
                  {group}
                </th>
              </tr>
              {rows
                .filter((row) => row.group === group)
                .map((row) => (
                  <Line key={row.name} row={row} />
                ))}
            </tbody>
          ))}
        </table>
      </div>
      {rows.length === 0 && <Empty>Nothing differs.</Empty>}
    </div>
  );
}

function Head({ compared: { task, runs: own = [] }, runs }: { compared: Compared; runs: readonly LoggedRun[] }) {
  const [run] = own;
  const numbers = own.map(({ id }) => runs.findIndex((other) => other.id === id)).filter((index) => index >= 0);
  const isTask = task !== undefined && run?.task_id === undefined;
  return (
    <>
      {isTask || !run ? task && <TaskLink task={task} /> : <RunLink run={run} />}
      <span class="compare-head">
        {numbers.map((number) => (
          <Colour key={number} number={number} />
        ))}
        {task ? <StatusBadge task={task} /> : run && <RunStatus run={run} />}
        <User name={task?.user_id ?? run?.user_id} />
      </span>
    </>
  );
}

function Line({ row }: { row: Row }) {
  const { low, high } = row.group === "Results" ? extremes(row.values) : {};
  return (
    <tr>
      <th scope="row">{plain(row.name)}</th>
      {row.values.map((value, index) => (
        <td key={index} class={row.isEqual ? "muted" : ""}>
          {row.name === "snapshot" && typeof value === "string"
            ? shortId(value)
            : plain(shown(value))}
          {value !== undefined && value === low && <span class="compare-mark"> lowest</span>}
          {value !== undefined && value === high && <span class="compare-mark"> highest</span>}
        </td>
      ))}
    </tr>
  );
}
