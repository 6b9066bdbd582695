/** What its owner or an admin can do with a task. */

import { useState } from "preact/hooks";
import { cancelTask, retryTask } from "../../api/tasks";
import { message } from "../../api/http";
import { ENDED, type Task } from "../../api/model";
import { plain } from "../../format";
import { href, navigate } from "../../router";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { confirmed } from "../../ui/dialog";
import { Icon } from "../../ui/icon";
import { announce } from "../../ui/notes";
import { TimeLimit } from "./time_limit";
import { Order } from "./waiting";

export function Actions({ task }: { task: Task }) {
  const [isBusy, setBusy] = useState(false);
  const isEnded = ENDED.has(task.status);
  const isOwn = store.mayEnd(task.user_id);

  async function run(act: () => Promise<void>): Promise<void> {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      announce(message(error), "problem");
    } finally {
      setBusy(false);
    }
  }

  async function cancel(): Promise<void> {
    const text =
      task.status === "queued"
        ? "It will not start. It stays in the history."
        : "The command gets SIGTERM, and SIGKILL after the grace period. What it wrote to its outputs stays.";
    const question = { title: `Cancel ${plain(task.job_name)}?`, text, action: "Cancel the task" };
    if (await confirmed({ ...question, danger: true })) {
      await cancelTask(store.http, task.id);
      announce(`${plain(task.job_name)} is being cancelled`);
    }
  }

  async function hold(isHeld: boolean): Promise<void> {
    await store.http.call("PATCH", `/v1/tasks/${task.id}`, { body: { hold: isHeld } });
    announce(`${plain(task.job_name)} is ${isHeld ? "held" : "released"}`);
  }

  async function retry(): Promise<void> {
    const next = await retryTask(store.http, task.id);
    announce(`Submitted ${plain(next.job_name)} again`);
    navigate(href(["tasks", next.id]));
  }

  async function remove(): Promise<void> {
    const question = {
      title: `Delete ${plain(task.job_name)}?`,
      text: "Its log and outputs are deleted too. This cannot be undone.",
      action: "Delete the task",
      danger: true,
    };
    if (!(await confirmed(question))) return;
    await store.http.call("DELETE", `/v1/tasks/${task.id}`);
    announce(`Deleted ${plain(task.job_name)}`);
    navigate(href(["tasks"]));
  }

  return (
    <div class="task-actions">
      {isOwn && !isEnded && (
        <SmallButton
          icon="stop"
          disabled={isBusy || task.cancel_requested_at !== undefined}
          onClick={() => void run(cancel)}
        >
          Cancel
        </SmallButton>
      )}
      {isOwn && task.status === "queued" && (
        <SmallButton disabled={isBusy} onClick={() => void run(() => hold(!task.held))}>
          {task.held ? "Release" : "Hold"}
        </SmallButton>
      )}
      {isOwn && task.status === "queued" && <Order task={task} isBusy={isBusy} />}
      {isOwn && !isEnded && task.status !== "collecting" && (
        <TimeLimit task={task} isBusy={isBusy} />
      )}
      {isOwn && isEnded && (
        <SmallButton icon="retry" disabled={isBusy} onClick={() => void run(retry)}>
          Retry
        </SmallButton>
      )}
      {store.maySubmit.value && (
        <a class="button button-small" href={href(["submit"], { from: task.id })}>
          <Icon name="edit" />
          Duplicate and edit
        </a>
      )}
      {isOwn && isEnded && (
        <SmallButton icon="trash" disabled={isBusy} onClick={() => void run(remove)}>
          Delete
        </SmallButton>
      )}
    </div>
  );
}
