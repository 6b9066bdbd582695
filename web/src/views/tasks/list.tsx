/**
 * The list of all tasks: filters in the address, rows by cursor as far as one scrolls, live. A sweep
 * or experiment is one row, which opens, unless the filter looks for single tasks.
 */

import { useEffect, useMemo, useState } from "preact/hooks";
import type { Task } from "../../api/model";
import type { Experiment, Sweep } from "../../api/types";
import { type Filter, fromQuery, isFiltered } from "../../filters";
import { type Folding, foldingOf, SWEEPS_ONLY } from "../../folding";
import { count, plain, plural } from "../../format";
import { route, setQuery } from "../../router";
import { GroupRecords } from "../../state/group_records";
import { groupOfRow, keyOf, Member, OpenGroups, Rest, single } from "../../state/open_groups";
import { store } from "../../state/store";
import { TaskList } from "../../state/task_list";
import { Check } from "../../ui/field";
import { memo } from "../../ui/memo";
import { Empty, Loading, Problem } from "../../ui/notes";
import { VirtualRows } from "../../ui/virtual_rows";
import { BulkBar } from "./bulk_bar";
import { chosenColumns, COLUMNS, type Column } from "./columns";
import { FilterBar } from "./filter_bar";
import { GroupRow, type Records, RestRow, rowProps } from "./group_row";
import { Selection } from "./selection";

const ROW = 36;
const NARROW_ROW = 68;
const narrow = matchMedia("(max-width: 700px)");

export default function Tasks() {
  const { query } = route.value;
  const filter = fromQuery(query, store.defaultUser.value);
  const current = foldingOf(filter, query);
  const key = JSON.stringify([filter, current]);
  const folding = useMemo(() => current, [key]);
  const list = useMemo(() => new TaskList(store.http, filter, folding), [key]);
  const opened = useMemo(
    () => new OpenGroups(store.http, list, filter, folding, (one) => store.follow(one)),
    [list],
  );
  const records = useMemo(makeRecords, [list]);
  const selection = useMemo(() => new Selection(), [key]);
  useEffect(() => {
    void list.load();
    const followers = [list, records.sweeps, records.experiments];
    const leave = followers.map((one) => store.follow(one));
    return () => {
      for (const one of leave) one();
      list.stop();
      opened.close();
    };
  }, [list]);

  const columns = query.get("columns") ?? "";
  const template = ["2rem", ...chosenColumns(columns).map((column) => column.width)].join(" ");
  // What reads the rows draws itself: the filters stay as they are when a task changes.
  return (
    <div class="view tasks" style={{ "--columns": template }}>
      <header class="view-head">
        <h1>Tasks</h1>
        <Total list={list} />
        <span class="view-choices">
          <FoldChoice folding={folding} filter={filter} />
          <ColumnChoice columns={columns} />
        </span>
      </header>
      <FilterBar filter={filter} />
      <ListProblem list={list} />
      <Rows {...{ list, filter, folding, opened, records, selection, columns }} />
    </div>
  );
}

function makeRecords(): Records {
  return {
    sweeps: new GroupRecords<Sweep>(store.http, "/v1/sweeps", (task) => task.sweep_id),
    experiments: new GroupRecords<Experiment>(
      store.http,
      "/v1/experiments",
      (task) => task.experiment_id,
      { view: "full" }, // Else it has no counts.
    ),
  };
}

function Total({ list }: { list: TaskList }) {
  const total = list.total.value;
  return (
    <span class="muted number" role="status">
      {total === undefined ? "" : plural(total, "task")}
    </span>
  );
}

function ListProblem({ list }: { list: TaskList }) {
  return <Problem text={list.problem.value} retry={() => void list.load()} />;
}

interface RowsProps {
  list: TaskList;
  filter: Filter;
  folding: Folding;
  opened: OpenGroups;
  records: Records;
  selection: Selection;
  /** As in the address: equal texts are equal columns. */
  columns: string;
}

function Rows({ list, filter, folding, opened, records, selection, columns }: RowsProps) {
  const height = useRowHeight();
  const rows = opened.rows.value;
  const tasks = useMemo(() => single(rows, folding), [rows, folding]);
  const total = list.total.value;
  const shown = chosenColumns(columns);
  return (
    <>
      <BulkBar selection={selection} tasks={tasks} total={total ?? 0} filter={filter} />
      {total === undefined ? (
        !list.problem.value && <Loading />
      ) : rows.length === 0 ? (
        <Empty>{isFiltered(filter) ? "No task matches the filters." : "There are no tasks yet."}</Empty>
      ) : (
        <VirtualRows
          rows={rows}
          total={folding.sweeps ? undefined : total}
          height={height}
          label="Tasks"
          class="task-table"
          onEnd={() => void list.more()}
          onLook={(last) => opened.look(list, last)}
          indexOf={(row, all) => opened.indexOf(row, all)}
          head={<Head columns={shown} selection={selection} rows={tasks} />}
          keyOf={(row) => keyOf(row, folding)}
          isPlain={(row) => !(row instanceof Rest) && !groupOfRow(row, folding)}
          row={(row, index, key) => {
            // Each key by itself: one that is spread is lost.
            const at = { index, height };
            const span = { columns: shown.length + 1 };
            if (row instanceof Rest) return <RestRow key={key} {...at} {...span} rest={row} />;
            const isMember = row instanceof Member;
            const task = isMember ? row.task : row;
            const group = groupOfRow(row, folding);
            if (group)
              return (
                <GroupRow
                  key={key}
                  {...at}
                  {...span}
                  group={group}
                  task={task}
                  opened={opened}
                  records={records}
                />
              );
            return (
              <TaskRow
                key={key}
                {...at}
                task={task}
                isMember={isMember}
                columns={columns}
                isSelected={selection.ids.value.has(task.id)}
                selection={selection}
                rows={tasks}
              />
            );
          }}
        />
      )}
    </>
  );
}

interface RowProps {
  task: Task;
  /** Below the row of its sweep or experiment. */
  isMember: boolean;
  index: number;
  height: number;
  /** As in the address: equal texts are equal columns. */
  columns: string;
  isSelected: boolean;
  selection: Selection;
  rows: readonly Task[];
}

const TaskRow = memo(
  ({ task, isMember, index, height, columns, isSelected, selection, rows }: RowProps) => (
    <div
      class={`task-row ${isMember ? "task-row-member" : ""} ${isSelected ? "task-row-selected" : ""}`}
      {...rowProps({ index, height })}
    >
      <div role="cell" class="cell cell-select">
        <input
          type="checkbox"
          aria-label={`Select ${plain(task.job_name)}`}
          checked={isSelected}
          onClick={(event) => selection.toggle(task.id, rows, event.shiftKey)}
        />
      </div>
      {chosenColumns(columns).map((column) => (
        <div key={column.name} role="cell" class={`cell cell-${column.name}`}>
          {column.cell(task)}
        </div>
      ))}
    </div>
  ),
  // `rows` is only read by a click: a row need not follow it.
  (old, next) =>
    old.task === next.task &&
    old.index === next.index &&
    old.height === next.height &&
    old.columns === next.columns &&
    old.isSelected === next.isSelected &&
    old.selection === next.selection,
);

interface HeadProps {
  columns: readonly Column[];
  selection: Selection;
  rows: readonly Task[];
}

function Head({ columns, selection, rows }: HeadProps) {
  const chosen = selection.ids.value.size;
  return (
    <div class="list-head" role="rowgroup">
      <div class="list-head-row" role="row" aria-rowindex={1}>
        <div role="columnheader" class="cell cell-select">
          <input
            type="checkbox"
            aria-label={`Select all ${count(rows.length)} rows`}
            checked={chosen > 0 && chosen >= rows.length}
            disabled={rows.length === 0}
            ref={(box) => {
              if (box) box.indeterminate = chosen > 0 && chosen < rows.length;
            }}
            onClick={() => (chosen > 0 ? selection.clear() : selection.add(rows))}
          />
        </div>
        {columns.map((column) => (
          <div key={column.name} role="columnheader" class={`cell cell-${column.name}`}>
            {column.title}
          </div>
        ))}
      </div>
    </div>
  );
}

/** Absent where it would change nothing. */
function FoldChoice({ folding, filter }: { folding: Folding; filter: Filter }) {
  if (!folding.sweeps || filter.experiment !== undefined) return null;
  return (
    <Check
      isOn={folding.experiments}
      onChange={(isOn) => setQuery({ fold: isOn ? "" : SWEEPS_ONLY })}
    >
      One row per experiment
    </Check>
  );
}

function ColumnChoice({ columns }: { columns: string }) {
  const names = chosenColumns(columns).map((column) => column.name);
  const toggle = (name: string) => {
    const next = names.includes(name) ? names.filter((one) => one !== name) : [...names, name];
    setQuery({ columns: next.join(",") });
  };
  return (
    <details class="menu">
      <summary class="button button-small">Columns</summary>
      <div class="menu-items">
        {COLUMNS.filter((column) => column.name !== "task").map((column) => (
          <label key={column.name} class="menu-item">
            <input
              type="checkbox"
              checked={names.includes(column.name)}
              onChange={() => toggle(column.name)}
            />
            {column.title}
          </label>
        ))}
      </div>
    </details>
  );
}

function useRowHeight(): number {
  const [isNarrow, setNarrow] = useState(narrow.matches);
  useEffect(() => {
    const look = () => setNarrow(narrow.matches);
    narrow.addEventListener("change", look);
    return () => narrow.removeEventListener("change", look);
  }, []);
  return isNarrow ? NARROW_ROW : ROW;
}
