/** The completed tasks of a sweep, sorted by a number that they report. */

import { useEffect } from "preact/hooks";
import type { ListBestTasksResponse } from "../../api/types";
import { plain } from "../../format";
import { href, route, setQuery } from "../../router";
import { Options } from "../../ui/field";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { number, Table } from "../../ui/table";
import { TaskLink } from "../../ui/task_link";
import { useRead } from "../../ui/use";
import { Labels } from "../tasks/columns";

const MOST = 20;
/** The reply to any metric has the names of all. */
const USUAL = "loss";

interface Props {
  path: string;
  /** Number of completed tasks: when it changes, so may the result. */
  completed: number;
}

export function Best({ path, completed }: Props) {
  const metric = route.value.query.get("metric") || USUAL;
  const goal = route.value.query.get("goal") === "max" ? "max" : "min";
  const resource = useRead<ListBestTasksResponse>(path, { metric, goal, limit: MOST });
  const best = resource.data.value;
  useEffect(() => resource.touch(), [completed]);
  const names = best?.metric_names ?? [];
  const results = best?.results ?? [];
  const ids = results.flatMap(({ task_id }) => task_id ?? []);
  return (
    <Panel
      title="Best tasks"
      aside={ids.length > 1 && <a href={href(["compare"], { task: ids })}>Compare these {ids.length}</a>}
    >
      <div class="sweep-best">
        <label class="field">
          <span class="field-name">Metric</span>
          <select
            value={metric}
            onChange={(event) => setQuery({ metric: event.currentTarget.value })}
          >
            <Options of={[...new Set([metric, ...names])].map((name) => [name, plain(name)])} />
          </select>
        </label>
        <label class="field">
          <span class="field-name">Best is</span>
          <select value={goal} onChange={(event) => setQuery({ goal: event.currentTarget.value })}>
            <option value="min">the lowest</option>
            <option value="max">the highest</option>
          </select>
        </label>
      </div>
      <Problem text={resource.error.value} retry={() => void resource.refresh()} />
      {!best ? (
        !resource.error.value && <Loading />
      ) : results.length === 0 ? (
        <Empty>
          {names.length === 0
            ? "No completed task has reported numbers. A task reports them in metrics.json of its outputs."
            : "No completed task reports this metric."}
        </Empty>
      ) : (
        <Table label="Best tasks" columns={["Task", number(plain(metric)), "Parameters"]}>
          {results.map((one) => (
            <tr key={one.task_id}>
              <th scope="row">
                <TaskLink
                  task={{ id: one.task_id ?? "", job_name: String(one.sweep_index ?? 0) }}
                />
              </th>
              <td class="number">{one.value}</td>
              <td>
                <Labels labels={one.parameters} />
              </td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}
