/** The row of a sweep in the task list, which opens, and the row for its tasks not read yet. */

import { useEffect } from "preact/hooks";
import type { Task } from "../../api/model";
import { plain, plural, shortId } from "../../format";
import { href } from "../../router";
import type { OpenSweeps, Rest } from "../../state/open_sweeps";
import type { SweepRecords } from "../../state/sweep_records";
import { IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Problem } from "../../ui/notes";
import { User } from "../../ui/task_link";
import { Ago } from "../../ui/time";
import { Counts } from "../sweeps/counts";

interface PlaceProps {
  index: number;
  height: number;
}

/** Columns of the table, with the one that selects. */
interface SpanProps {
  columns: number;
}

/** Where a row stands among the others. */
export function rowProps({ index, height }: PlaceProps) {
  return {
    role: "row" as const,
    "aria-rowindex": index + 2,
    style: { transform: `translateY(${index * height}px)` },
  };
}

interface SweepRowProps extends PlaceProps, SpanProps {
  /** The newest task of the sweep. */
  task: Task;
  opened: OpenSweeps;
  records: SweepRecords;
}

export function SweepRow({ task, opened, records, columns, ...at }: SweepRowProps) {
  const id = task.sweep_id ?? "";
  useEffect(() => records.show(id), [id, records]);
  const sweep = records.byId.value.get(id);
  const isOpen = opened.lists.value.has(id);
  const name = plain(sweep?.name || task.job_name);
  return (
    <div class="task-row sweep-row" {...rowProps(at)}>
      <div role="cell" class="cell cell-select">
        <IconButton
          icon={isOpen ? "down" : "right"}
          aria-expanded={isOpen}
          label={`Tasks of ${name}`}
          onClick={() => opened.toggle(id)}
        />
      </div>
      <div role="cell" aria-colspan={columns - 1} class="cell sweep-row-cell">
        <Icon name="sweeps" />
        <a class="sweep-row-name" href={href(["sweeps", id])} title={`Sweep ${id}`}>
          {name} <span class="task-id">{shortId(id)}</span>
        </a>
        {sweep && (
          <span class="sweep-row-counts">
            <Counts sweep={sweep} />
          </span>
        )}
        <span class="sweep-row-end">
          <User name={task.user_id} /> <Ago at={sweep?.created_at ?? task.created_at} />
        </span>
      </div>
    </div>
  );
}

/** Reads the next tasks as soon as it comes near the screen. */
export function RestRow({ rest: { list }, columns, ...at }: PlaceProps & SpanProps & { rest: Rest }) {
  const read = list.rows.value.length;
  const total = list.total.value;
  useEffect(() => void list.more(), [list, read]);
  return (
    <div class="task-row task-row-member" {...rowProps(at)}>
      <div role="cell" aria-colspan={columns} class="cell sweep-row-cell muted">
        <Problem
          text={list.problem.value}
          retry={() => void (total === undefined ? list.load() : list.more())}
        />
        {!list.problem.value &&
          (total === undefined ? "Reading…" : `${plural(total - read, "more task")}…`)}
      </div>
    </div>
  );
}
