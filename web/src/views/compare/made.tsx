/** What made two tasks, subject by subject, as the server compares it. */

import { useState } from "preact/hooks";
import type { Task } from "../../api/model";
import type { TaskDiff } from "../../api/types";
import { count, plain, plural, shortId } from "../../format";
import { route, setQuery } from "../../router";
import { Check, Options } from "../../ui/field";
import { Icon, type IconName } from "../../ui/icon";
import { Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { useRead } from "../../ui/use";

type Section = NonNullable<TaskDiff["sections"]>[number];
type Change = NonNullable<Section["changes"]>[number];

const OUTCOMES: Record<string, readonly [word: string, icon: IconName, kind: string]> = {
  identical: ["identical", "completed", "status-completed"],
  different: ["different", "warning", "made-different"],
  unknown: ["not known", "info", "status-queued"],
};

export function Made({ tasks }: { tasks: readonly Task[] }) {
  const unique = [...new Map(tasks.map((task) => [task.id, task])).values()];
  const [other, setOther] = useState<string>();
  const hasOutputs = route.value.query.get("outputs") === "1";
  const [base] = unique;
  const second = unique.find((task) => task.id === other) ?? unique[1];
  if (!base || !second) return null;
  const name = (task: Task) => `${plain(task.job_name)} ${shortId(task.id)}`;
  return (
    <Panel
      title="What made them"
      aside={
        <span class="made-pair">
          {name(base)} against{" "}
          {unique.length > 2 ? (
            <select
              aria-label="Compared with"
              value={second.id}
              onChange={(event) => setOther(event.currentTarget.value)}
            >
              <Options of={unique.slice(1).map((task) => [task.id, name(task)])} />
            </select>
          ) : (
            name(second)
          )}
          <Check isOn={hasOutputs} onChange={(isOn) => setQuery({ outputs: isOn ? "1" : "" })}>
            Outputs too
          </Check>
        </span>
      }
    >
      <Sections key={second.id} base={base.id} other={second.id} hasOutputs={hasOutputs} />
    </Panel>
  );
}

function Sections({ base, other, hasOutputs }: { base: string; other: string; hasOutputs: boolean }) {
  const path = `/v1/tasks/${encodeURIComponent(base)}/diff/${encodeURIComponent(other)}`;
  const diff = useRead<TaskDiff>(path, hasOutputs ? { outputs: true } : {});
  const found = diff.data.value;
  if (!found)
    return diff.error.value ? (
      <Problem text={diff.error.value} retry={() => void diff.refresh()} />
    ) : (
      <Loading />
    );
  return (
    <ul class="file-changes">
      {(found.sections ?? []).map((section) => (
        <li key={section.name}>
          <SectionView section={section} />
        </li>
      ))}
    </ul>
  );
}

function SectionView({ section }: { section: Section }) {
  const [word, icon, kind] = OUTCOMES[section.outcome ?? "unknown"] ?? OUTCOMES.unknown!;
  const changes = section.changes ?? [];
  const head = (
    <>
      <span class="made-name">{plain(section.name ?? "")}</span>{" "}
      <span class={`status ${kind}`}>
        <Icon name={icon} />
        {word}
      </span>{" "}
      <span class="muted">
        {[
          changes.length > 0 && `${count(changes.length + (section.omitted ?? 0))} of ${count(section.compared ?? 0)}`,
          section.note && plain(section.note),
        ]
          .filter(Boolean)
          .join("; ")}
      </span>
    </>
  );
  if (changes.length === 0) return <p class="made-same">{head}</p>;
  return (
    <details open={section.name !== "code" && section.name !== "outputs"}>
      <summary>{head}</summary>
      <div class="table-box" tabIndex={0} role="region" aria-label={plain(`Differences of ${section.name}`)}>
        <table class="table made-table">
          <tbody>
            {changes.map((change) => (
              <ChangeRow key={change.name} change={change} />
            ))}
          </tbody>
        </table>
      </div>
      {(section.omitted ?? 0) > 0 && <p class="rows-more">{plural(section.omitted ?? 0, "more difference")}</p>}
    </details>
  );
}

function ChangeRow({ change }: { change: Change }) {
  return (
    <>
      <tr>
        <th scope="row">{plain(change.name ?? "")}</th>
        <td>{valueText(change.before)}</td>
        <td>{valueText(change.after)}</td>
        <td class="muted">{plain(change.note ?? "")}</td>
      </tr>
      {change.diff && (
        <tr>
          <td colSpan={4}>
            <Unified text={change.diff} />
          </td>
        </tr>
      )}
    </>
  );
}

const DIGEST = /^[0-9a-f]{64}$/;

function valueText(value: string | undefined) {
  if (value === undefined) return <span class="muted">none</span>;
  return DIGEST.test(value) ? <code title={value}>{value.slice(0, 12)}</code> : plain(value);
}

/** The lines of a unified diff, in their colours. */
function Unified({ text }: { text: string }) {
  const lines = text.replace(/\n$/, "").split("\n");
  const kind = (line: string) =>
    /^(\+\+\+|---|@@)/.test(line) ? "muted" : line.startsWith("+") ? "diff-added" : line.startsWith("-") ? "diff-removed" : "";
  return (
    <pre class="made-diff">
      {lines.map((line, index) => (
        <div key={index} class={kind(line)}>
          {plain(line) || " "}
        </div>
      ))}
    </pre>
  );
}
