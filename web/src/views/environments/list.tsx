/** The environments that the server keeps: of all users for admins, else the person's own. */

import type { KeptEnvironment, ListEnvironmentsResponse } from "../../api/types";
import { bytes, count, plain, plural } from "../../format";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { performIfConfirmed } from "../../ui/perform";
import { ACTION, number, Table } from "../../ui/table";
import { Ago } from "../../ui/time";
import { useRead } from "../../ui/use";

/** Rows: the last used ones. */
const SHOWN = 100;
/** Digits of an id, as the command line shows them. */
const SHORT = 12;
const COLUMNS = ["Packages of", "Image", number("Size"), number("Tasks now"), "Last used", ACTION];

export function Environments() {
  const list = useRead<ListEnvironmentsResponse>(`/v1/environments?limit=${SHOWN}`);
  const found = list.data.value;
  if (!found) return list.error.value ? <Problem text={list.error.value} /> : <Loading />;

  function remove(one: KeptEnvironment): Promise<boolean> {
    const question = {
      title: `Remove environment ${short(one)}?`,
      text: "The next task that asks for it installs its packages again.",
      action: "Remove",
    };
    return performIfConfirmed(question, async () => {
      await store.http.call("DELETE", `/v1/environments/${encodeURIComponent(one.id)}`);
      await list.refresh();
      return `Removed environment ${short(one)}`;
    });
  }

  return (
    <Panel
      title="Environments"
      aside={
        found.total > found.environments.length
          ? `the last used ${count(found.environments.length)} of ${count(found.total)}`
          : plural(found.total, "environment")
      }
    >
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {found.environments.length === 0 ? (
        <Empty>
          No task has asked for an environment yet. Packages that a task names, as in
          requirements.txt or pyproject.toml, are installed once; later tasks start with them at
          once.
        </Empty>
      ) : (
        <Table label="Kept environments" columns={["ID", ...(store.isAdmin.value ? ["For tasks of"] : []), ...COLUMNS]}>
          {found.environments.map((one) => (
            <tr key={one.id}>
              <th scope="row">
                <code>{short(one)}</code>
              </th>
              {store.isAdmin.value && <td>{plain(one.user_id)}</td>}
              <td>{plain(one.path)}</td>
              <td>{plain(one.image)}</td>
              <td class="number">{bytes(one.bytes)}</td>
              <td class="number">{count(one.tasks)}</td>
              <td>
                <Ago at={one.last_used_at} />
              </td>
              <td class="number">
                <SmallButton
                  aria-label={`Remove environment ${short(one)}`}
                  onClick={() => void remove(one)}
                >
                  Remove
                </SmallButton>
              </td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}

function short(one: KeptEnvironment): string {
  return one.id.slice(0, SHORT);
}
