/** GPU hours by user, for each of the last days. */

import { useMemo } from "preact/hooks";
import type { GpuHours, GpuHoursList } from "../../api/types";
import { count, plain } from "../../format";
import { route, setQuery } from "../../router";
import { Resource } from "../../state/resource";
import { store } from "../../state/store";
import { Options } from "../../ui/field";
import { Meter } from "../../ui/meter";
import { Empty, Loading, Problem } from "../../ui/notes";
import { Panel } from "../../ui/panel";
import { number, Table } from "../../ui/table";
import { useResource } from "../../ui/use";

const DAY = 86_400_000;
const PERIODS = { "7": "7 days", "30": "30 days", "90": "90 days", "365": "a year" } as const;
type Period = keyof typeof PERIODS;
const DAYS_SHOWN = 30;
/** The columns of `Numbers`. */
const SUMS = ["GPU hours", "CPU core hours", "Completed", "Failed"].map(number);

export function Use() {
  const text = route.value.query.get("days") ?? "30";
  const days = (Object.hasOwn(PERIODS, text) ? text : "30") as Period;
  const list = useMemo(
    () =>
      new Resource((signal) => {
        const since = new Date(Date.now() - (Number(days) - 1) * DAY).toISOString();
        return store.http.get<GpuHoursList>("/v1/usage", { query: { since }, signal });
      }),
    [days],
  );
  const found = useResource(list).data.value;
  const users = useMemo(() => byUser(found?.days ?? []), [found]);
  const most = Math.max(...users.map((user) => user.gpu_hours), 0.001);
  const choice = (
    <label>
      <span class="off-screen">Period</span>
      <select value={days} onChange={(event) => setQuery({ days: event.currentTarget.value })}>
        <Options of={Object.entries(PERIODS)} />
      </select>
    </label>
  );
  return (
    <Panel title="Use by user" aside={choice}>
      {!found ? (
        list.error.value ? (
          <Problem text={list.error.value} />
        ) : (
          <Loading />
        )
      ) : users.length === 0 ? (
        <Empty>No task ran in this time.</Empty>
      ) : (
        <Table label="Use" columns={["User", "Relative", ...SUMS]}>
          {users.map((user) => (
            <tr key={user.user_id}>
              <th scope="row">{plain(user.user_id)}</th>
              <td class="storage-bar">
                <Meter value={user.gpu_hours / most} label={`Share of ${plain(user.user_id)}`} />
              </td>
              <Numbers of={user} />
            </tr>
          ))}
        </Table>
      )}
      {found && found.days.length > 0 && <Days days={found.days} />}
    </Panel>
  );
}

type Sum = Pick<GpuHours, "gpu_hours" | "cpu_hours" | "completed" | "failed">;

function Numbers({ of: sum }: { of: Sum }) {
  return (
    <>
      <td class="number">{hours(sum.gpu_hours)}</td>
      <td class="number">{hours(sum.cpu_hours)}</td>
      <td class="number">{count(sum.completed)}</td>
      <td class="number">{count(sum.failed)}</td>
    </>
  );
}

function Days({ days }: { days: readonly GpuHours[] }) {
  return (
    <details class="use-days">
      <summary>By day</summary>
      <Table label="Use by day" columns={["Day", "User", ...SUMS]}>
        {days.slice(0, 20 * DAYS_SHOWN).map((day) => (
          <tr key={`${day.day} ${day.user_id}`}>
            <td>{day.day}</td>
            <td>{plain(day.user_id)}</td>
            <Numbers of={day} />
          </tr>
        ))}
      </Table>
    </details>
  );
}

/** Sums over the days, the most GPU hours first. */
function byUser(days: readonly GpuHours[]): (Sum & { user_id: string })[] {
  const sums = new Map<string, Sum & { user_id: string }>();
  for (const day of days) {
    const sum = sums.get(day.user_id);
    sums.set(day.user_id, {
      user_id: day.user_id,
      gpu_hours: (sum?.gpu_hours ?? 0) + day.gpu_hours,
      cpu_hours: (sum?.cpu_hours ?? 0) + day.cpu_hours,
      completed: (sum?.completed ?? 0) + day.completed,
      failed: (sum?.failed ?? 0) + day.failed,
    });
  }
  return [...sums.values()].toSorted((one, other) => other.gpu_hours - one.gpu_hours);
}

function hours(value: number): string {
  return value === 0 ? "0" : value < 0.1 ? value.toFixed(2) : value.toFixed(1);
}
