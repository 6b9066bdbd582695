/** Two to eight tasks beside each other: what differs in request, code and results. */

import { useState } from "preact/hooks";
import { ApiError } from "../../api/http";
import type { Task } from "../../api/model";
import { plain, shortId } from "../../format";
import { href, route, setQuery } from "../../router";
import { compare, extremes, metricsIn, type Compared, type Row } from "../../state/comparison";
import { shown } from "../../state/runs";
import { store } from "../../state/store";
import { Check } from "../../ui/field";
import { Empty, Loading, Problem } from "../../ui/notes";
import { StatusBadge } from "../../ui/status";
import { TaskLink, User } from "../../ui/task_link";
import { useReading, useTitle } from "../../ui/use";
import { CodeDifferences } from "./code";

const MOST = 8;

export default function Compare() {
  useTitle("Compare");
  const ids = [...new Set(route.value.query.getAll("task"))].slice(0, MOST);
  const showsAll = route.value.query.get("all") === "1";
  const [all, problem] = useTasks(ids);
  const rows = all ? compare(all).filter((row) => showsAll || !row.isEqual) : [];
  return (
    <div class="view compare">
      <header class="view-head">
        <h1>Compare</h1>
        <Check class="view-action" isOn={showsAll} onChange={(isOn) => setQuery({ all: isOn ? "1" : "" })}>
          Show equal rows too
        </Check>
      </header>
      <Problem text={problem} />
      {ids.length < 2 ? (
        <Empty>
          Select two to {MOST} runs of an <a href={href(["experiments"])}>experiment</a>, or add
          tasks to the address: ?task=ID&task=ID.
        </Empty>
      ) : !all ? (
        !problem && <Loading />
      ) : (
        <>
          <Table all={all} rows={rows} />
          <CodeDifferences tasks={all.map(({ task }) => task)} />
        </>
      )}
    </div>
  );
}

function useTasks(ids: readonly string[]): [readonly Compared[] | undefined, string | undefined] {
  const [all, setAll] = useState<readonly Compared[]>();
  const [problem, setProblem] = useState<string>();
  const key = ids.join(",");
  useReading(
    (signal) => {
      if (ids.length < 2) return undefined;
      setAll(undefined);
      setProblem(undefined);
      return Promise.all(ids.map((id) => read(id, signal))).then(setAll);
    },
    setProblem,
    [key],
  );
  return [all, problem];
}

async function read(id: string, signal: AbortSignal): Promise<Compared> {
  const path = `/v1/tasks/${encodeURIComponent(id)}`;
  const task = await store.http.get<Task>(path, { query: { view: "full" }, signal });
  try {
    const reply = await store.http.send("GET", `${path}/outputs/metrics.json`, { signal });
    return { task, metrics: metricsIn(await reply.text()) };
  } catch (error) {
    // Most tasks have no such file.
    if (error instanceof ApiError) return { task, metrics: {} };
    throw error;
  }
}

function Table({ all, rows }: { all: readonly Compared[]; rows: readonly Row[] }) {
  const groups = [...new Set(rows.map((row) => row.group))];
  return (
    <div class="panel">
      <div class="table-box" tabIndex={0} role="region" aria-label="Differences">
        <table class="table compare-table">
          <thead>
            <tr>
              <td />
              {all.map(({ task }) => (
                <th key={task.id} scope="col">
                  <TaskLink task={task} />
                  <span class="compare-head">
                    <StatusBadge task={task} /> <User name={task.user_id} />
                  </span>
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
      {rows.length === 0 && <Empty>These tasks do not differ.</Empty>}
    </div>
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
