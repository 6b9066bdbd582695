/** The host: what its checks find, and what a user may have. */

import type { DoctorReport, Finding, Quotas } from "../../api/types";
import { bytes, count, plain, plural } from "../../format";
import { server } from "../../state/server";
import { SmallButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { number, Table } from "../../ui/table";
import { useRead, useResource } from "../../ui/use";

export function Host() {
  return (
    <>
      <Findings />
      <Limits />
    </>
  );
}

function Findings() {
  const report = useRead<DoctorReport>("/v1/doctor");
  const found = report.data.value?.findings;
  // Problems first, then what would be safer.
  const rank = (one: Finding) => (one.ok ? (one.advice ? 1 : 2) : 0);
  return (
    <Panel
      title="Checks"
      aside={
        <SmallButton onClick={() => void report.refresh()}>
          Check again
        </SmallButton>
      }
    >
      <Problem text={report.error.value} />
      {!found ? (
        !report.error.value && <Loading what="Checking" />
      ) : (
        <>
          <p class="compare-count" role="status">
            {found.every((one) => one.ok)
              ? "No check found a problem."
              : `${plural(found.filter((one) => !one.ok).length, "problem")} found.`}
          </p>
          <ul class="rows">
            {found
              .toSorted((one, other) => rank(one) - rank(other))
              .map((one) => (
                <li class="row" key={one.name}>
                  <span class={`status status-${one.ok ? "completed" : "failed"}`}>
                    <Icon name={one.ok ? "completed" : "failed"} />
                    {one.ok ? "OK" : "problem"}
                  </span>
                  <div class="row-main">
                    <span class="task-name">{plain(one.name ?? "")}</span>
                    <span class="finding">{plain(one.finding ?? "")}</span>
                    {one.fix && <span class="finding">To do: {plain(one.fix)}</span>}
                    {one.advice && <span class="finding muted">Safer: {plain(one.advice)}</span>}
                  </div>
                </li>
              ))}
          </ul>
        </>
      )}
    </Panel>
  );
}

const QUOTAS: readonly [keyof Quotas, name: string, setting: string, shown: (value: number) => string][] = [
  ["gpus", "GPUs that a user's tasks hold", "user_gpus", count],
  ["running", "Tasks that run", "user_running", count],
  ["queued", "Tasks that wait", "user_queued", count],
  ["queued_bytes", "The server's memory for live tasks", "user_queued_mb", bytes],
  ["storage_bytes", "Disk space of all files", "user_storage_gb", bytes],
];

function Limits() {
  const resource = useResource(server);
  const info = resource.data.value;
  if (!info) return <Problem text={resource.error.value} />;
  return (
    <Panel title="Quotas of a user" aside="[quotas]">
      <Table label="Quotas" columns={["What", "Setting", number("Most")]}>
        {QUOTAS.map(([field, name, setting, shown]) => {
          const value = info.quotas?.[field];
          return (
            <tr key={field}>
              <th scope="row">{name}</th>
              <td>
                <code>{setting}</code>
              </td>
              <td class="number">{value ? shown(value) : "no limit"}</td>
            </tr>
          );
        })}
      </Table>
    </Panel>
  );
}
