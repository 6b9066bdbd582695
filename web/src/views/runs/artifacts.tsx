/** The files that a run logged as artifacts, folder by folder. */

import { useState } from "preact/hooks";
import { downloadFile } from "../../api/download";
import type { LoggedRun } from "../../api/model";
import { bytes, plain } from "../../format";
import { SmallButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { useRead } from "../../ui/use";

interface Entry {
  path: string;
  is_dir: boolean;
  /** A number as a text. */
  file_size?: number | string;
}

const API = "/mlflow/api/2.0";

export function Artifacts({ run }: { run: LoggedRun }) {
  const [folder, setFolder] = useState("");
  const list = useRead<{ files?: Entry[] }>(`${API}/mlflow/artifacts/list`, { run_id: run.id, path: folder });
  const reply = list.data.value;
  const files = reply?.files ?? [];
  return (
    <Panel title="Artifacts" aside={folder && plain(folder)}>
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!reply && list.error.value === undefined && <Loading />}
      {folder !== "" && (
        <p class="panel-body">
          <SmallButton icon="up" onClick={() => setFolder(parent(folder))}>
            Up
          </SmallButton>
        </p>
      )}
      {reply && files.length === 0 && <Empty>The run logged no files.</Empty>}
      {files.length > 0 && (
        <ul class="rows">
          {files.map((entry) => (
            <li key={entry.path} class="row run-artifact">
              <button type="button" class="button-link" onClick={() => open(entry)}>
                <Icon name={entry.is_dir ? "right" : "file"} />
                {plain(entry.path.slice(entry.path.lastIndexOf("/") + 1))}
                {entry.is_dir && "/"}
              </button>
              {!entry.is_dir && <span class="row-aside number">{bytes(Number(entry.file_size ?? 0))}</span>}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );

  function open(entry: Entry): void {
    if (entry.is_dir) {
      setFolder(entry.path);
      return;
    }
    const parts = [run.experiment_id, run.id, "artifacts", ...entry.path.split("/")];
    const path = `${API}/mlflow-artifacts/artifacts/${parts.map(encodeURIComponent).join("/")}`;
    void downloadFile(path, parts.at(-1) ?? "");
  }
}

function parent(folder: string): string {
  return folder.slice(0, Math.max(0, folder.lastIndexOf("/")));
}
