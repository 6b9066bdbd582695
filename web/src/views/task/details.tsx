/** The request of a task, field by field, and commands that act on it. */

import type { ComponentChildren } from "preact";
import type { Task } from "../../api/model";
import { duration, plain, shellQuoted, shortId } from "../../format";
import { href } from "../../router";
import { targetText } from "../../state/notify";
import { store } from "../../state/store";
import { CopyButton } from "../../ui/copy";
import { User } from "../../ui/task_link";
import { At } from "../../ui/time";
import { useResource } from "../../ui/use";
import { Labels, needs } from "../tasks/columns";

export default function Details({ task }: { task: Task }) {
  return (
    <div class="details">
      <dl class="task-facts">
        <Fact name="Id">
          <code class="wrapped">{task.id}</code>
          <CopyButton text={task.id} what="the id" />
        </Fact>
        <Fact name="User">
          <User name={task.user_id} />
        </Fact>
        <Fact name="Command">
          <pre class="wrapped task-fact-command" tabIndex={0} aria-label="Command">
            {plain(commandOf(task))}
          </pre>
          <CopyButton text={commandOf(task)} what="the command" />
        </Fact>
        <Fact name="Image">{task.image && <code class="wrapped">{plain(task.image)}</code>}</Fact>
        <Fact name="Needs">{needs(task) || "nothing in particular"}</Fact>
        <Fact name="Priority">{task.priority}</Fact>
        <Fact name="Time limit">
          {task.timeout_seconds ? duration(task.timeout_seconds * 1000) : "none"}
        </Fact>
        <Fact name="Retries">{task.max_retries ? `up to ${task.max_retries}` : "none"}</Fact>
        <Fact name="Preemptible">{task.preemptible ? "yes" : "no"}</Fact>
        <Fact name="Snapshot">
          {task.snapshot_id && <code>{plain(task.snapshot_id.slice(0, 12))}</code>}
        </Fact>
        <Fact name="Datasets">{datasets(task).map(plain).join(", ")}</Fact>
        <Fact name="Volumes">{task.volumes?.map(plain).join(", ")}</Fact>
        <Fact name="Secrets">{task.secrets?.map(({ name }) => plain(name)).join(", ")}</Fact>
        <Fact name="Packages">{Object.values(task.environment ?? {}).flat().map(plain).join(", ")}</Fact>
        <Fact name="Checkpoint">{checkpoint(task)}</Fact>
        <Fact name="After">
          {task.after?.map(({ task_id, sweep_id }) =>
            task_id === undefined ? (
              sweep_id && (
                <a key={sweep_id} href={href(["sweeps", sweep_id])}>
                  all of sweep {shortId(sweep_id)}
                </a>
              )
            ) : (
              <Other key={task_id} id={task_id} />
            ),
          )}
        </Fact>
        <Fact name="Inputs from">{task.inputs_from?.map((id) => <Other key={id} id={id} />)}</Fact>
        <Fact name="Not before">{task.start_after && <At at={task.start_after} />}</Fact>
        <Fact name="Sweep">
          {task.sweep_id && (
            <a href={href(["sweeps", task.sweep_id])}>
              {shortId(task.sweep_id)}, task {task.sweep_index}
            </a>
          )}
        </Fact>
        <Fact name="Parameters">{task.parameters && <Labels labels={task.parameters} />}</Fact>
        <Fact name="Notifies">{task.notify?.map(targetText).map(plain).join(", ")}</Fact>
        <Fact name="Slurm">{task.slurm && <Labels labels={task.slurm} />}</Fact>
        <Fact name="Variables">
          {task.env_names?.length ? (
            <code class="wrapped">{task.env_names.map(plain).join(" ")}</code>
          ) : undefined}
        </Fact>
        <Fact name="Experiment">
          {task.experiment_id && (
            <a href={href(["experiments", task.experiment_id])}>{shortId(task.experiment_id)}</a>
          )}
        </Fact>
        <Fact name="Labels">
          {task.metadata && Object.keys(task.metadata).length > 0 ? (
            <Labels labels={task.metadata} />
          ) : undefined}
        </Fact>
        <Fact name="GPUs">
          {task.gpu_uuids?.length ? (
            <OwnGpus uuids={task.gpu_uuids} />
          ) : undefined}
        </Fact>
        <Fact name="Worker">{task.worker_id && plain(task.worker_id)}</Fact>
        <Fact name="Exit code">{task.exit_code}</Fact>
        <Fact name="Created">
          <At at={task.created_at} />
        </Fact>
      </dl>
      <Commands task={task} />
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  if (children === undefined || children === null || children === "") return null;
  return (
    <div class="task-fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The command in one line, as a shell would take it. */
export function commandOf(task: Task): string {
  return [...(task.command ?? []).map(shellQuoted), task.args ?? ""].filter(Boolean).join(" ");
}

function Other({ id }: { id: string }) {
  return (
    <>
      <a href={href(["tasks", id])}>{shortId(id)}</a>{" "}
    </>
  );
}

function checkpoint(task: Task): string | undefined {
  if (!task.checkpoint) return undefined;
  const begun = task.checkpoint_from ? `, begun from ${shortId(task.checkpoint_from)}` : "";
  const warned = task.warn_seconds ? `, SIGUSR1 ${task.warn_seconds} s before SIGTERM` : "";
  return `/checkpoint${begun}${warned}`;
}

function datasets(task: Task): string[] {
  const specs = (task.dataset_specs ?? []).map((one) => one.name ?? "");
  return [...(task.datasets ?? []), ...specs].filter(Boolean);
}

function Commands({ task }: { task: Task }) {
  const server = location.origin;
  const path = `${server}/v1/tasks/${task.id}`;
  const commands = [
    ["Follow the log", `fetchml logs -f ${task.id}`],
    ["Show the task", `fetchml show ${task.id}`],
    ["Read the log with curl", `curl -H "X-API-Key: $FETCHML_API_KEY" ${path}/logs`],
    [
      "Read it from Python",
      [
        "from fetchml.client import Client",
        "",
        "with Client() as client:  # uses FETCHML_SERVER and FETCHML_API_KEY",
        `    for chunk in client.logs("${task.id}", follow=True):`,
        '        print(chunk.data.decode(errors="replace"), end="")',
      ].join("\n"),
    ],
  ] as const;
  return (
    <section class="task-commands" aria-labelledby="commands">
      <h2 id="commands">Commands</h2>
      {commands.map(([name, command]) => (
        <div key={name} class="task-command">
          <div class="task-command-head">
            <h3>{name}</h3>
            <CopyButton text={command} what="the command" />
          </div>
          <pre tabIndex={0}>{command}</pre>
        </div>
      ))}
    </section>
  );
}

/** GPUs by number, as reasons and charts name them; by id where the server has none of that id now. */
function OwnGpus({ uuids }: { uuids: readonly string[] }) {
  const known = useResource(store.gpus).data.value?.gpus ?? [];
  return (
    <ul class="task-gpus">
      {uuids.map((uuid) => {
        const gpu = known.find((one) => one.uuid === uuid);
        return (
          <li key={uuid}>
            {gpu && `GPU ${gpu.number} `}
            <code class={gpu ? "wrapped muted" : "wrapped"}>{plain(uuid)}</code>
          </li>
        );
      })}
    </ul>
  );
}
