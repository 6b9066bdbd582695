/** Changes when a waiting task starts: its priority, and its earliest time. */

import { useState } from "preact/hooks";
import { message } from "../../api/http";
import type { Task } from "../../api/model";
import { plain } from "../../format";
import { store } from "../../state/store";
import { localTime } from "../../state/time_text";
import { SmallButton } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { announce } from "../../ui/notes";

export function Order({ task, isBusy }: { task: Task; isBusy: boolean }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <SmallButton
        disabled={isBusy || task.cancel_requested_at !== undefined}
        onClick={() => setOpen(true)}
      >
        Priority and start
      </SmallButton>
      {isOpen && <OrderDialog task={task} onClose={() => setOpen(false)} />}
    </>
  );
}

function OrderDialog({ task, onClose }: { task: Task; onClose: () => void }) {
  const [fault, setFault] = useState<string>();
  const earliest = localTime(task.start_after);

  async function change(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const priority = Number(data.get("priority"));
    const start = String(data.get("start"));
    const body: Record<string, unknown> = {};
    if (priority !== task.priority) body.priority = priority;
    if (start !== earliest) body.start_after = start === "" ? null : new Date(start).toISOString();
    try {
      if (Object.keys(body).length > 0)
        await store.http.call("PATCH", `/v1/tasks/${task.id}`, { body });
    } catch (error) {
      setFault(message(error));
      return;
    }
    announce(`${plain(task.job_name)} is changed`);
    onClose();
  }

  return (
    <Dialog title={`Priority and start of ${plain(task.job_name)}`} onClose={onClose}>
      <form onSubmit={(event) => void change(event)}>
        <div class="dialog-fields">
          <label class="field">
            <span class="field-name">Priority</span>
            <input
              name="priority"
              type="number"
              min="1"
              max="10"
              required
              defaultValue={String(task.priority)}
              aria-describedby="order-help"
            />
          </label>
          <label class="field">
            <span class="field-name">Not before</span>
            <input
              name="start"
              type="datetime-local"
              defaultValue={earliest}
              aria-describedby="order-help"
            />
          </label>
          <p id="order-help" class={fault ? "field-error" : "muted"} role={fault ? "alert" : undefined}>
            {fault ?? "10 is the most urgent. The time is in your time zone; empty: at once."}
          </p>
        </div>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" class="button button-primary">
            Change the task
          </button>
        </div>
      </form>
    </Dialog>
  );
}
