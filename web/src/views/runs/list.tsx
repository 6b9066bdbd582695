/** Runs, newest first, by a filter; some of them can be compared. */

import { useState } from "preact/hooks";
import type { LoggedRun } from "../../api/model";
import { plain, plural } from "../../format";
import { href, route, setQuery } from "../../router";
import { headline, latestText } from "../../state/latest";
import { Selected } from "../../ui/selected";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { Table } from "../../ui/table";
import { User } from "../../ui/task_link";
import { TextFilter } from "../../ui/text_filter";
import { Ago } from "../../ui/time";
import { useTitle } from "../../ui/use";
import { RunLink, RunStatus } from "./parts";
import { useRuns } from "./reading";

const SHOWN = 100;
const SHOWN_PARAMETERS = 4;

export default function Runs() {
  useTitle("Runs");
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const filter = route.value.query.get("filter") ?? "";
  const sort = route.value.query.get("sort") ?? "";
  const [runs, problem, retry] = useRuns({ filter, order_by: sort ? [sort] : [], limit: SHOWN });
  const toggle = (id: string) => {
    const next = new Set(selected);
    if (!next.delete(id)) next.add(id);
    setSelected(next);
  };
  return (
    <div class="view">
      <header class="view-head">
        <h1>Runs</h1>
        <span class="view-action">
          <Selected
            number={selected.size}
            address={href(["compare"], { run: [...selected] })}
            onClear={() => setSelected(new Set())}
          />
        </span>
      </header>
      <div class="filters-row" role="search">
        <label class="runs-filter">
          <span class="off-screen">Filter</span>
          <TextFilter
            type="search"
            value={filter}
            placeholder="metrics.loss < 0.1 and params.lr = '0.01'"
            onChange={(text) => setQuery({ filter: text })}
          />
        </label>
        <label class="runs-filter">
          <span class="off-screen">Sort by</span>
          <TextFilter
            value={sort}
            placeholder="Newest first; or metrics.loss ASC"
            onChange={(text) => setQuery({ sort: text })}
          />
        </label>
      </div>
      <Problem text={problem} retry={retry} />
      {!runs ? (
        problem === undefined && <Loading />
      ) : (
        <Panel title="All" aside={runs.length === SHOWN ? `the first ${SHOWN}` : plural(runs.length, "run")}>
          {runs.length === 0 ? (
            <Empty>
              {filter
                ? "No run matches."
                : "There are no runs yet. A task that logs with MLflow, writes TensorBoard files, or metrics.jsonl or metrics.json into its outputs, makes one."}
            </Empty>
          ) : (
            <Table label="Runs" columns={[{ name: "Select", hidden: true }, "Run", "Status", "User", "Metrics", "Parameters", "Started"]}>
              {runs.map((run) => (
                <Row key={run.id} run={run} isSelected={selected.has(run.id)} onToggle={toggle} />
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}

interface RowProps {
  run: LoggedRun;
  isSelected: boolean;
  onToggle: (id: string) => void;
}

function Row({ run, isSelected, onToggle }: RowProps) {
  const params = Object.entries(run.params).slice(0, SHOWN_PARAMETERS);
  return (
    <tr class={isSelected ? "run-selected" : ""}>
      <td>
        <input
          type="checkbox"
          aria-label={`Select ${plain(run.name)} ${run.id.slice(-8)}`}
          checked={isSelected}
          onChange={() => onToggle(run.id)}
        />
      </td>
      <th scope="row">
        <RunLink run={run} />
      </th>
      <td>
        <RunStatus run={run} />
      </td>
      <td>
        <User name={run.user_id} />
      </td>
      <td>
        <Values of={headline(run.metrics).map((point) => [point.name, latestText(point)])} />
      </td>
      <td>
        <Values of={params} />
      </td>
      <td>
        <Ago at={run.started_at} />
      </td>
    </tr>
  );
}

function Values({ of }: { of: readonly (readonly [string, string])[] }) {
  return (
    <span class="run-values">
      {of.map(([name, value]) => (
        <span key={name} class="label">
          <span>{plain(name)}</span>
          <span class="label-value">{plain(value)}</span>
        </span>
      ))}
    </span>
  );
}
