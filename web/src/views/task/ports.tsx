/** A way to the ports of a running task, for its owner and admins. */

import { useEffect, useState } from "preact/hooks";
import { message } from "../../api/http";
import type { Task } from "../../api/model";
import type { TaskPortLink } from "../../api/types";
import { store } from "../../state/store";
import { Field } from "../../ui/field";
import { Icon } from "../../ui/icon";

const TENSORBOARD = "6006";

/** Nothing where a task's pages would share this page's origin, or another program's. */
export function Ports({ task }: { task: Task }) {
  const session = store.session.value;
  const isOwn = store.mayEnd(task.user_id);
  const hasOrigins = session?.jupyter_origin?.includes("{id}") ?? false;
  if (task.status !== "running" || !isOwn || !hasOrigins) return null;
  return <PortForm key={task.id} task={task} />;
}

function PortForm({ task }: { task: Task }) {
  const [port, setPort] = useState(TENSORBOARD);
  const [link, setLink] = useState<TaskPortLink | undefined>();
  const [problem, setProblem] = useState<string | undefined>();
  useEffect(() => {
    if (!link) return undefined;
    const left = Date.parse(link.expires_at) - Date.now();
    const timer = setTimeout(() => setLink(undefined), Math.max(0, left));
    return () => clearTimeout(timer);
  }, [link]);

  async function ask(event: Event): Promise<void> {
    event.preventDefault();
    setLink(undefined);
    setProblem(undefined);
    try {
      const path = `/v1/tasks/${task.id}/ports/${encodeURIComponent(port.trim())}`;
      setLink(await store.http.call("POST", path));
    } catch (error) {
      setProblem(message(error));
    }
  }

  return (
    <details class="task-ports">
      <summary>Ports</summary>
      <form class="task-port-form" onSubmit={(event) => void ask(event)}>
        <Field
          name="port"
          form="task-port"
          label="Port"
          error={problem}
          control={(props) => (
            <input
              {...props}
              type="text"
              inputMode="numeric"
              autocomplete="off"
              value={port}
              onInput={(event) => setPort(event.currentTarget.value)}
            />
          )}
        />
        <button class="button button-small" type="submit">
          Get a link
        </button>
        {link && (
          <a
            class="button button-small"
            href={link.url}
            target="_blank"
            rel="noopener noreferrer"
            onClick={() => setTimeout(() => setLink(undefined))}
          >
            <Icon name="right" />
            Open port {port.trim()}
          </a>
        )}
      </form>
    </details>
  );
}
