/** Changes the time limit of a task that waits or runs. */

import { useState } from "preact/hooks";
import { message } from "../../api/http";
import type { Task } from "../../api/model";
import { duration as shown, plain } from "../../format";
import { store } from "../../state/store";
import { duration } from "../../state/time_text";
import { SmallButton } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { announce } from "../../ui/notes";

export function TimeLimit({ task, isBusy }: { task: Task; isBusy: boolean }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <SmallButton
        disabled={isBusy || task.cancel_requested_at !== undefined}
        onClick={() => setOpen(true)}
      >
        Time limit
      </SmallButton>
      {isOpen && <LimitDialog task={task} onClose={() => setOpen(false)} />}
    </>
  );
}

function LimitDialog({ task, onClose }: { task: Task; onClose: () => void }) {
  const [fault, setFault] = useState<string>();

  async function change(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    const seconds = duration(String(data.get("limit")));
    if (seconds === undefined || Number.isNaN(seconds)) {
      setFault("must be like 90s, 30m, 12h or 2d; 0 for none");
      return;
    }
    try {
      await store.http.call("PATCH", `/v1/tasks/${task.id}`, {
        body: { timeout_seconds: seconds },
      });
    } catch (error) {
      setFault(message(error));
      return;
    }
    const limit = seconds ? `a time limit of ${shown(seconds * 1000)}` : "no time limit";
    announce(`${plain(task.job_name)} has ${limit}`);
    onClose();
  }

  return (
    <Dialog title={`Time limit of ${plain(task.job_name)}`} onClose={onClose}>
      <form onSubmit={(event) => void change(event)}>
        <div class="dialog-fields">
          <label class="field">
            <span class="field-name">Time limit</span>
            <input
              name="limit"
              required
              maxLength={16}
              autocomplete="off"
              placeholder="12h"
              defaultValue={task.timeout_seconds ? `${task.timeout_seconds}s` : ""}
              aria-invalid={fault !== undefined}
              aria-describedby="limit-help"
            />
          </label>
          <p id="limit-help" class={fault ? "field-error" : "muted"} role={fault ? "alert" : undefined}>
            {fault ?? "From the start of the attempt: 90s, 30m, 12h or 2d. 0: none."}
          </p>
        </div>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" class="button button-primary">
            Change the limit
          </button>
        </div>
      </form>
    </Dialog>
  );
}
