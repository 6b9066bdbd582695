/** What users have on the disk, the environments among it, and volumes. */

import type { StorageReport } from "../../api/types";
import { bytes, count, plain } from "../../format";
import { Meter } from "../../ui/meter";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { Table } from "../../ui/table";
import { useRead } from "../../ui/use";
import { Environments } from "../environments/list";
import { Volumes } from "./volumes";

const KINDS = [
  "snapshots",
  "workspaces",
  "outputs",
  "logs",
  "jupyter",
  "environments",
  "artifacts",
] as const;

export function Storage() {
  return (
    <>
      <Report />
      <Environments />
    </>
  );
}

function Report() {
  const report = useRead<StorageReport>("/v1/storage");
  const found = report.data.value;
  if (!found) return report.error.value ? <Problem text={report.error.value} /> : <Loading />;
  return (
    <>
      <Users found={found} />
      {found.volumes?.length ? <Volumes volumes={found.volumes} /> : null}
    </>
  );
}

function Users({ found }: { found: StorageReport }) {
  const allowed = found.allowed_bytes;
  const most = Math.max(1, ...found.users.map((user) => user.bytes));
  return (
    <Panel
      title="Storage by user"
      aside={
        allowed === undefined
          ? "no quota: [quotas] user_storage_gb"
          : `each user may have ${bytes(allowed)}`
      }
    >
      {found.users.length === 0 ? (
        <Empty>Nothing is stored yet.</Empty>
      ) : (
        <Table
          label="Storage"
          columns={[
            "User",
            allowed === undefined ? "Relative" : "Of the quota",
            ...["Total", "Files", ...KINDS].map((name) => ({ name, class: "number capital" })),
          ]}
        >
          {found.users.map((user) => {
            const share = user.bytes / (allowed ?? most);
            return (
              <tr key={user.user_id}>
                <th scope="row">{plain(user.user_id) || "older releases"}</th>
                <td class="storage-bar">
                  <Meter
                    value={share}
                    label={`Share of ${plain(user.user_id)}`}
                    tone={allowed !== undefined && share > 0.9 ? "danger" : "plain"}
                  />
                </td>
                <td class="number">{bytes(user.bytes)}</td>
                <td class="number">{count(user.files)}</td>
                {KINDS.map((kind) => {
                  const use = user.kinds.find((one) => one.kind === kind);
                  return (
                    <td key={kind} class="number">
                      {use ? bytes(use.bytes) : ""}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </Table>
      )}
    </Panel>
  );
}
