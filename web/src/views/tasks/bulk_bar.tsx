/** What can be done with the selected tasks. */

import { useState } from "preact/hooks";
import { cancelTask, retryTask } from "../../api/tasks";
import { message } from "../../api/http";
import { ENDED, type Task } from "../../api/model";
import type { Filter } from "../../filters";
import { count, plural } from "../../format";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { confirmed, Dialog } from "../../ui/dialog";
import { announce } from "../../ui/notes";
import { allMatching, forEach, running, type Outcome } from "./actions";
import type { Selection } from "./selection";

interface Props {
  selection: Selection;
  /** The tasks that were read. */
  tasks: readonly Task[];
  /** Number of all tasks that match. */
  total: number;
  filter: Filter;
}

export function BulkBar({ selection, tasks, total, filter }: Props) {
  const [isLabelling, setLabelling] = useState(false);
  const [isCollecting, setCollecting] = useState(false);
  const ids = selection.ids.value;
  const current = running.value;
  if (current)
    return (
      <div class="bulk" role="status">
        <span>
          {current.name}: {count(current.done)} of {count(current.total)}
        </span>
        <SmallButton onClick={current.stop}>
          Stop
        </SmallButton>
      </div>
    );
  if (ids.size === 0 || !store.maySubmit.value) return null;

  const shown = tasks.filter((task) => ids.has(task.id));
  // Of rows that were not read the status is unknown: each action may concern them.
  const unread = ids.size - shown.length;
  const own = shown.filter(isMine);
  const live = own.filter((task) => !ENDED.has(task.status));
  const ended = own.filter((task) => ENDED.has(task.status));
  const idsOf = (some: readonly Task[]): string[] => {
    const read = new Set(shown.map((task) => task.id));
    return [...some.map((task) => task.id), ...[...ids].filter((id) => !read.has(id))];
  };

  async function cancel(): Promise<void> {
    const chosen = idsOf(live);
    if (!(await confirmed(cancelQuestion(chosen.length)))) return;
    const act = (id: string) => cancelTask(store.http, id);
    report("cancelled", await forEach("Cancelling", chosen, act));
    selection.clear();
  }

  async function retry(): Promise<void> {
    const chosen = idsOf(ended);
    const question = {
      title: `Run ${plural(chosen.length, "task")} again?`,
      text: "Each request is submitted again as a new task. The ended tasks stay.",
      action: `Retry ${plural(chosen.length, "task")}`,
    };
    if (!(await confirmed(question))) return;
    const act = (id: string) => retryTask(store.http, id);
    report("submitted again", await forEach("Submitting", chosen, act));
    selection.clear();
  }

  async function label(labels: Record<string, string | null>): Promise<void> {
    setLabelling(false);
    const body = { metadata: labels };
    const act = (id: string) => store.http.call("PATCH", `/v1/tasks/${id}`, { body });
    report("labelled", await forEach("Labelling", idsOf(own), act));
    selection.clear();
  }

  async function selectAll(): Promise<void> {
    setCollecting(true);
    try {
      selection.add(await allMatching(store.http, filter));
    } catch (error) {
      announce(message(error), "problem");
    } finally {
      setCollecting(false);
    }
  }

  return (
    <div class="bulk" role="toolbar" aria-label="Selected tasks">
      <b class="number">{plural(ids.size, "task")} selected</b>
      {ids.size < total && (
        <button
          type="button"
          class="button-link"
          disabled={isCollecting}
          onClick={() => void selectAll()}
        >
          {isCollecting ? "Selecting…" : `Select all ${count(total)}`}
        </button>
      )}
      <span class="bulk-space" />
      <BulkButton name="Cancel" icon="stop" count={live.length + unread} act={cancel} />
      <BulkButton name="Retry" icon="retry" count={ended.length + unread} act={retry} />
      <BulkButton
        name="Label"
        icon="label"
        count={own.length + unread}
        act={() => Promise.resolve(setLabelling(true))}
      />
      <SmallButton onClick={() => selection.clear()}>
        Clear
      </SmallButton>
      {isLabelling && (
        <LabelDialog
          count={own.length + unread}
          onClose={() => setLabelling(false)}
          onLabel={(labels) => void label(labels)}
        />
      )}
    </div>
  );
}

function isMine(task: Task): boolean {
  return store.mayEnd(task.user_id);
}

function cancelQuestion(number: number) {
  return {
    title: `Cancel ${plural(number, "task")}?`,
    text: "Running commands get SIGTERM, and SIGKILL after the grace period. Waiting tasks never start.",
    action: `Cancel ${plural(number, "task")}`,
    danger: true,
  };
}

function report(what: string, { done, failures }: Outcome): void {
  if (done > 0 || failures.size === 0) announce(`${plural(done, "task")} ${what}`);
  for (const [text, times] of failures) announce(`${plural(times, "task")}: ${text}`, "problem");
}

interface ButtonProps {
  name: string;
  icon: "stop" | "retry" | "label";
  count: number;
  act: () => Promise<void>;
}

function BulkButton({ name, icon, count: number, act }: ButtonProps) {
  return (
    <SmallButton icon={icon} disabled={number === 0} onClick={() => void act()}>
      {name} {number > 0 && count(number)}
    </SmallButton>
  );
}

interface LabelProps {
  count: number;
  onClose: () => void;
  onLabel: (labels: Record<string, string | null>) => void;
}

function LabelDialog({ count: number, onClose, onLabel }: LabelProps) {
  function submit(event: SubmitEvent): void {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const key = String(data.get("key")).trim();
    const value = String(data.get("value"));
    onLabel({ [key]: value === "" ? null : value });
  }
  return (
    <Dialog title={`Label ${plural(number, "task")}`} onClose={onClose}>
      <form onSubmit={submit}>
        <div class="dialog-fields">
          <label class="field">
            <span class="field-name">Key</span>
            <input name="key" required maxLength={128} autocomplete="off" />
          </label>
          <label class="field">
            <span class="field-name">Value</span>
            <input name="value" autocomplete="off" placeholder="Empty removes the label" />
          </label>
        </div>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" class="button button-primary">
            Label {plural(number, "task")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
