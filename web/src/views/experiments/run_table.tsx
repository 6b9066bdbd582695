/** The runs as a table that sorts by any column. */

import { duration, plain } from "../../format";
import { setQuery } from "../../router";
import { shown, type Column, type Run } from "../../state/runs";
import { Icon } from "../../ui/icon";
import { StatusWord } from "../../ui/status";
import { TaskLink } from "../../ui/task_link";

/** A page of a table that a browser draws without a pause. */
const MOST_ROWS = 500;

interface Props {
  runs: readonly Run[];
  columns: readonly Column[];
  /** Key of a column; `-` before it: descending. */
  sort: string;
  selected: ReadonlySet<string>;
  onToggle: (id: string) => void;
}

export function RunTable({ runs, columns, sort, selected, onToggle }: Props) {
  const head = (key: string, title: string, kind = "", isNumeric = false) => (
    <SortHead key={key} name={key} title={title} kind={kind} isNumeric={isNumeric} sort={sort} />
  );
  const areNumbers = ({ key }: Column) => runs.some((run) => typeof run.values.get(key) === "number");
  return (
    <div class="panel">
      <div class="table-box run-table" tabIndex={0} role="region" aria-label="Runs">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">
                <span class="off-screen">Select</span>
              </th>
              {head("name", "Run")}
              {head("status", "Status")}
              {head("time", "Time", "", true)}
              {columns.map((column) => head(column.key, column.name, column.kind, areNumbers(column)))}
            </tr>
          </thead>
          <tbody>
            {runs.slice(0, MOST_ROWS).map((run) => (
              <tr key={run.id} class={selected.has(run.id) ? "run-selected" : ""}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Select ${plain(run.name)} ${run.id.slice(-8)}`}
                    checked={selected.has(run.id)}
                    onChange={() => onToggle(run.id)}
                  />
                </td>
                <th scope="row">
                  <TaskLink task={{ id: run.id, job_name: run.name }} />
                </th>
                <td>
                  <StatusWord status={run.status} />
                </td>
                <td class="number">{run.duration === undefined ? "" : duration(run.duration)}</td>
                {columns.map((column) => {
                  const value = run.values.get(column.key);
                  return (
                    <td key={column.key} class={typeof value === "number" ? "number" : "run-text"}>
                      {plain(shown(value))}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {runs.length > MOST_ROWS && (
        <p class="rows-more">The first {MOST_ROWS} are shown. Filter to find others.</p>
      )}
    </div>
  );
}

interface HeadProps {
  name: string;
  title: string;
  kind: string;
  isNumeric: boolean;
  sort: string;
}

function SortHead({ name, title, kind, isNumeric, sort }: HeadProps) {
  const order =
    sort === name ? ("ascending" as const) : sort === `-${name}` ? ("descending" as const) : undefined;
  return (
    <th
      scope="col"
      aria-sort={order ?? "none"}
      class={`${isNumeric ? "number" : ""} ${kind && `run-${kind}`}`}
    >
      <button
        type="button"
        class="sort"
        title={kind}
        onClick={() => setQuery({ sort: order === "ascending" ? `-${name}` : name })}
      >
        {plain(title)}
        {order && <Icon name={order === "ascending" ? "up" : "down"} />}
      </button>
    </th>
  );
}
