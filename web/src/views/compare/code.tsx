/** The code of tasks: which files differ between their snapshots, and how. */

import { useMemo, useState } from "preact/hooks";
import type { SnapshotFile, SnapshotFiles, Task } from "../../api/model";
import { bytes, count, plain, plural, shortId } from "../../format";
import { fileChanges, hunks, lineDiff, type FileChange } from "../../state/diff";
import { store } from "../../state/store";
import { Options } from "../../ui/field";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { useReading } from "../../ui/use";

/** A longer file is not compared by line. */
const MAX_BYTES = 1024 * 1024;
const MAX_FILES = 50_000;
const SHOWN_FILES = 300;
const SHOWN_LINES = 2_000;

export function CodeDifferences({ tasks }: { tasks: readonly Task[] }) {
  const ids = useMemo(() => snapshotsOf(tasks), [tasks]);
  const [other, setOther] = useState<string>();
  const [base] = ids;
  const second = other ?? ids[1];
  if (base === undefined || second === undefined)
    return (
      <Panel title="Code">
        <Empty>{base === undefined ? "None of these tasks has code." : "All have the same code."}</Empty>
      </Panel>
    );
  return (
    <Panel
      title="Code"
      aside={
        ids.length > 2 ? (
          <label>
            {shortId(base)} against{" "}
            <select value={second} onChange={(event) => setOther(event.currentTarget.value)}>
              <Options of={ids.slice(1).map((id) => [id, shortId(id)])} />
            </select>
          </label>
        ) : (
          `${shortId(base)} against ${shortId(second)}`
        )
      }
    >
      <Files key={second} base={base} other={second} />
    </Panel>
  );
}

function snapshotsOf(tasks: readonly Task[]): string[] {
  return [...new Set(tasks.map((task) => task.snapshot_id).filter((id) => id !== undefined))];
}

interface Found {
  changes: FileChange[];
  before: ReadonlyMap<string, SnapshotFile>;
  after: ReadonlyMap<string, SnapshotFile>;
}

function Files({ base, other }: { base: string; other: string }) {
  const [found, setFound] = useState<Found>();
  const [problem, setProblem] = useState<string>();
  useReading(
    (signal) =>
      Promise.all([filesOf(base, signal), filesOf(other, signal)]).then(([before, after]) =>
        setFound({
          changes: fileChanges(before.map(entry), after.map(entry)),
          before: byPath(before),
          after: byPath(after),
        }),
      ),
    setProblem,
    [base, other],
  );
  if (problem) return <Problem text={problem} />;
  if (!found) return <Loading />;
  const { changes, before, after } = found;
  return (
    <>
      <p class="compare-count muted">{changes.length === 1 ? "1 file differs" : `${plural(changes.length, "file")} differ`}</p>
      <ul class="file-changes">
        {changes.slice(0, SHOWN_FILES).map((change) => (
          <li key={change.path}>
            <Change
              change={change}
              before={before.get(change.path)}
              after={after.get(change.path)}
              base={base}
              other={other}
            />
          </li>
        ))}
      </ul>
      {changes.length > SHOWN_FILES && (
        <p class="rows-more">{count(changes.length - SHOWN_FILES)} more</p>
      )}
    </>
  );
}

/** All files of a snapshot, part by part. */
async function filesOf(id: string, signal: AbortSignal): Promise<SnapshotFile[]> {
  const files: SnapshotFile[] = [];
  for (;;) {
    const part = await store.http.get<SnapshotFiles>(
      `/v1/snapshots/${encodeURIComponent(id)}/files`,
      { query: { offset: files.length }, signal },
    );
    files.push(...part.files);
    if (part.files.length === 0 || files.length >= Math.min(part.total, MAX_FILES)) return files;
  }
}

function byPath(files: readonly SnapshotFile[]): ReadonlyMap<string, SnapshotFile> {
  return new Map(files.map((file) => [file.path, file]));
}

/** A link differs by its target, a file by its content and whether it may be executed. */
function entry(file: SnapshotFile) {
  return {
    path: file.path,
    size_bytes: file.size_bytes ?? 0,
    sha256: `${file.kind} ${file.target ?? file.sha256}`,
  };
}

interface ChangeProps {
  change: FileChange;
  before: SnapshotFile | undefined;
  after: SnapshotFile | undefined;
  base: string;
  other: string;
}

function Change({ change, before, after, base, other }: ChangeProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span class={`file-kind file-${change.kind}`}>{change.kind}</span>{" "}
        <code>{plain(change.path)}</code>
      </summary>
      {isOpen && <Lines before={before} after={after} base={base} other={other} />}
    </details>
  );
}

function Lines({ before, after, base, other }: Omit<ChangeProps, "change">) {
  const [texts, setTexts] = useState<readonly [string, string]>();
  const [problem, setProblem] = useState<string>();
  const reason = hidden(before) ?? hidden(after);
  const read = (signal: AbortSignal) =>
    Promise.all([textOf(base, before, signal), textOf(other, after, signal)]).then(setTexts);
  useReading((signal) => (reason === undefined ? read(signal) : undefined), setProblem, []);
  const lines = useMemo(() => {
    if (!texts || texts.some((text) => text.includes("\0"))) return undefined;
    const diff = lineDiff(...texts);
    return diff && hunks(diff);
  }, [texts]);
  if (problem) return <Problem text={problem} />;
  if (reason !== undefined) return <p class="compare-count muted">{reason}</p>;
  if (!texts) return <Loading />;
  if (!lines)
    return (
      <p class="compare-count muted">
        {texts.some((text) => text.includes("\0"))
          ? "The file is no text."
          : "The files have too little in common to compare them by line."}
      </p>
    );
  return (
    <div class="table-box" tabIndex={0} role="region" aria-label="Changed lines">
      <table class="diff">
        <tbody>
          {lines.slice(0, SHOWN_LINES).map((line, index) =>
            line === null ? (
              <tr key={index} class="diff-gap">
                <td colSpan={4}>…</td>
              </tr>
            ) : (
              <tr key={index} class={MARKS[line.mark]}>
                <td class="diff-number">{line.before ?? ""}</td>
                <td class="diff-number">{line.after ?? ""}</td>
                <td class="diff-mark">{line.mark}</td>
                <td>{plain(line.text)}</td>
              </tr>
            ),
          )}
        </tbody>
      </table>
      {lines.length > SHOWN_LINES && (
        <p class="rows-more">{count(lines.length - SHOWN_LINES)} more lines</p>
      )}
    </div>
  );
}

const MARKS = { "+": "diff-added", "-": "diff-removed", " ": "" } as const;

/** Why a file is not shown by line; `undefined` if it is. */
function hidden(file: SnapshotFile | undefined): string | undefined {
  if (!file) return undefined;
  if (file.kind === "link") return `A link to ${plain(file.target ?? "")}`;
  if ((file.size_bytes ?? 0) > MAX_BYTES)
    return `The file has ${bytes(file.size_bytes ?? 0)}: too long to compare it here.`;
  return undefined;
}

async function textOf(
  snapshot: string,
  file: SnapshotFile | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (!file) return "";
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  const address = `/v1/snapshots/${encodeURIComponent(snapshot)}/files/${path}`;
  return (await store.http.send("GET", address, { signal })).text();
}
