/**
 * The row of a sweep or an experiment in the task list, which opens, and the row for its tasks not
 * read yet.
 */

import { useEffect } from "preact/hooks";
import type { Task } from "../../api/model";
import type { Experiment, Sweep } from "../../api/types";
import { type Group, groupKey } from "../../folding";
import { plain, plural, shortId } from "../../format";
import { href } from "../../router";
import type { GroupRecords } from "../../state/group_records";
import type { OpenGroups, Rest } from "../../state/open_groups";
import { IconButton } from "../../ui/button";
import { ExperimentTasks, SweepTasks } from "../../ui/counts";
import { Icon } from "../../ui/icon";
import { Problem } from "../../ui/notes";
import { User } from "../../ui/task_link";
import { Ago } from "../../ui/time";

const TITLES = { experiment: "Experiment", sweep: "Sweep" };

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

/** The records of the rows on the screen. */
export interface Records {
  sweeps: GroupRecords<Sweep>;
  experiments: GroupRecords<Experiment>;
}

interface GroupRowProps extends PlaceProps, SpanProps {
  group: Group;
  /** The newest task of the group. */
  task: Task;
  opened: OpenGroups;
  records: Records;
}

export function GroupRow({ group, task, opened, records, columns, ...at }: GroupRowProps) {
  const { kind, id } = group;
  const own: GroupRecords<Sweep | Experiment> = records[`${kind}s`];
  useEffect(() => own.show(id), [id, own]);
  const sweep = kind === "sweep" ? records.sweeps.byId.value.get(id) : undefined;
  const experiment = kind === "experiment" ? records.experiments.byId.value.get(id) : undefined;
  const isOpen = opened.lists.value.has(groupKey(group));
  const fallback = kind === "sweep" ? task.job_name : "Experiment";
  const name = plain(own.byId.value.get(id)?.name || fallback);
  return (
    <div class="task-row group-row" {...rowProps(at)}>
      <div role="cell" class="cell cell-select">
        <IconButton
          icon={isOpen ? "down" : "right"}
          aria-expanded={isOpen}
          label={`Tasks of ${name}`}
          onClick={() => opened.toggle(group)}
        />
      </div>
      <div role="cell" aria-colspan={columns - 1} class="cell group-row-cell">
        <Icon name={`${kind}s`} />
        <a class="group-row-name" href={href([`${kind}s`, id])} title={`${TITLES[kind]} ${id}`}>
          {name} <span class="task-id">{shortId(id)}</span>
        </a>
        {sweep && (
          <span class="group-row-counts">
            <SweepTasks sweep={sweep} />
          </span>
        )}
        {experiment && (
          <span class="group-row-counts">
            <ExperimentTasks experiment={experiment} />
          </span>
        )}
        <span class="group-row-end">
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
      <div role="cell" aria-colspan={columns} class="cell group-row-cell muted">
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
