/** The output files of a task: a list, a preview of the chosen one, downloads. */

import { useEffect } from "preact/hooks";
import { downloadFile } from "../../../api/download";
import type { Task, TaskOutput } from "../../../api/model";
import { bytes, plain, plural } from "../../../format";
import { route, setQuery } from "../../../router";
import { IconButton, SmallButton } from "../../../ui/button";
import { Icon } from "../../../ui/icon";
import { Empty, Loading, Problem } from "../../../ui/notes";
import { useRead } from "../../../ui/use";
import { firstShown } from "./kinds";
import { Preview } from "./preview";

interface Listed {
  outputs: TaskOutput[];
}

export default function Outputs({ task }: { task: Task }) {
  const base = `/v1/tasks/${encodeURIComponent(task.id)}`;
  const list = useRead<Listed>(`${base}/outputs`);
  // The outputs are there when the task has ended.
  useEffect(() => void list.refresh(), [task.status]);

  const outputs = list.data.value?.outputs;
  const chosen = route.value.query.get("file");
  if (!outputs)
    return list.error.value ? (
      <Problem text={list.error.value} retry={() => void list.refresh()} />
    ) : (
      <Loading />
    );
  if (outputs.length === 0)
    return (
      <Empty>
        {task.status === "completed" || task.status === "failed" ? (
          "The task wrote no outputs."
        ) : (
          <>
            Outputs appear here. A task writes them to the folder that <code>FETCHML_OUTPUTS</code>{" "}
            names.
          </>
        )}
      </Empty>
    );

  const selected =
    outputs.find((one) => one.path === chosen) ?? firstShown(outputs);
  const total = outputs.reduce((sum, one) => sum + Number(one.size_bytes), 0);
  const pathOf = (one: TaskOutput) =>
    `${base}/outputs/${one.path.split("/").map(encodeURIComponent).join("/")}`;
  return (
    <div class="outputs">
      <div class="outputs-list">
        <div class="outputs-head">
          <span class="muted number">
            {plural(outputs.length, "file")}, {bytes(total)}
          </span>
          <SmallButton
            icon="download"
            onClick={() => void downloadFile(`${base}/archive`, `${task.job_name}.zip`)}
          >
            Download all
          </SmallButton>
        </div>
        <ul>
          {outputs.map((one) => (
            <li key={one.path} class={one === selected ? "output output-current" : "output"}>
              <button
                type="button"
                class="output-name"
                aria-pressed={one === selected}
                onClick={() => setQuery({ file: one.path })}
              >
                <Icon name="file" />
                <span class="clipped">{plain(one.path)}</span>
              </button>
              <span class="muted number">{bytes(Number(one.size_bytes))}</span>
              <IconButton
                icon="download"
                label={`Download ${plain(one.path)}`}
                onClick={() => void downloadFile(pathOf(one), nameOf(one))}
              />
            </li>
          ))}
        </ul>
      </div>
      <div class="outputs-preview">
        {selected ? (
          <Preview
            key={`${selected.path} ${selected.size_bytes}`}
            path={pathOf(selected)}
            output={selected}
          />
        ) : (
          <Empty>Choose a file.</Empty>
        )}
      </div>
    </div>
  );
}

function nameOf(output: TaskOutput): string {
  return output.path.slice(output.path.lastIndexOf("/") + 1);
}
