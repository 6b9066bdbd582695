/** All sweeps, newest first: each is one row, which opens. */

import type { ListSweepsResponse, Sweep } from "../../api/types";
import { plain, plural, shortId } from "../../format";
import { href } from "../../router";
import { store } from "../../state/store";
import { SweepTasks } from "../../ui/counts";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { number, Table } from "../../ui/table";
import { User } from "../../ui/task_link";
import { Ago } from "../../ui/time";
import { useChanges, useRead, useTitle } from "../../ui/use";

const EVERY_MS = 15_000;
const MOST = 200;

export default function Sweeps() {
  useTitle("Sweeps");
  const list = useRead<ListSweepsResponse>("/v1/sweeps", { limit: MOST }, EVERY_MS);
  const page = list.data.value;
  useChanges(list, (task) => task.sweep_id !== undefined);
  const sweeps = page?.sweeps ?? [];
  return (
    <div class="view">
      <header class="view-head">
        <h1>Sweeps</h1>
        {store.maySubmit.value && (
          <a class="button button-small view-action" href={href(["submit"])}>
            Submit a sweep
          </a>
        )}
      </header>
      <Problem text={list.error.value} retry={() => void list.refresh()} />
      {!page ? (
        !list.error.value && <Loading />
      ) : (
        <Panel title="All" aside={plural(page.total ?? 0, "sweep")}>
          {sweeps.length === 0 ? (
            <Empty>
              There are no sweeps yet. A sweep runs one request with many parameters:{" "}
              <code>fetchml sweep create -p lr=0.1,0.2 -- python train.py --lr {"{lr}"}</code>
            </Empty>
          ) : (
            <Table label="Sweeps" columns={["Sweep", number("Tasks"), "Status", "User", "Created"]}>
              {sweeps.map((sweep) => (
                <Row key={sweep.id} sweep={sweep} />
              ))}
            </Table>
          )}
          {(page.total ?? 0) > sweeps.length && (
            <p class="rows-more">The newest {MOST} are shown.</p>
          )}
        </Panel>
      )}
    </div>
  );
}

function Row({ sweep }: { sweep: Sweep }) {
  const id = sweep.id ?? "";
  return (
    <tr>
      <th scope="row">
        <a class="task-link" href={href(["sweeps", id])} title={id}>
          <span class="task-name">{plain(sweep.name ?? "")}</span>{" "}
          <span class="task-id">{shortId(id)}</span>
        </a>
      </th>
      <td class="number">{sweep.total}</td>
      <td class="counts-cell">
        <SweepTasks sweep={sweep} />
      </td>
      <td>
        <User name={sweep.user_id} />
      </td>
      <td>
        <Ago at={sweep.created_at} />
      </td>
    </tr>
  );
}
