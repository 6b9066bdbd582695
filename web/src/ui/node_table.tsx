/** The nodes of a cluster: what each has, and why it takes no work. */

import type { Gpu, GpuList, GpuNode } from "../api/model";
import { bytes, count, plain, shortId } from "../format";
import { href } from "../router";
import { store } from "../state/store";
import { number, Table } from "./table";
import { User } from "./task_link";

const MIB = 1024 * 1024;
const SHOWN_TASKS = 8;

interface Props {
  nodes: readonly GpuNode[];
}

export function NodeTable({ nodes }: Props) {
  return (
    <Table label="Nodes" columns={["Node", "State", ...["GPUs in use", "Cores in use", "Memory requested"].map(number), "Tasks"]}>
      {nodes.map((node) => (
        <tr key={node.name}>
          <th scope="row">{plain(node.name)}</th>
          <td class="wide">
            {plain(node.state)}
            {node.reason && (
              <span class="muted">
                {": "}
                {plain(node.reason)}
                {node.reason_by && ` (${plain(node.reason_by)})`}
              </span>
            )}
          </td>
          <td class="number">{node.gpu > 0 ? `${node.gpu_used} of ${node.gpu}` : ""}</td>
          <td class="number">{`${node.cpu_used} of ${node.cpu}`}</td>
          <td class="number">
            {`${bytes(node.memory_used_mb * MIB)} of ${bytes(node.memory_mb * MIB)}`}
          </td>
          <td>
            <Tasks ids={node.task_ids ?? []} />
          </td>
        </tr>
      ))}
    </Table>
  );
}

function Tasks({ ids }: { ids: readonly string[] }) {
  const byId = new Map(store.current.running.value.map((task) => [task.id, task]));
  return (
    <>
      {ids.slice(0, SHOWN_TASKS).map((id, index) => {
        const task = byId.get(id);
        return (
          <span key={id}>
            {index > 0 && ", "}
            <a href={href(["tasks", id])}>{task ? plain(task.job_name) : shortId(id)}</a>{" "}
            <User name={task?.user_id} />
          </span>
        );
      })}
      {ids.length > SHOWN_TASKS && `, ${count(ids.length - SHOWN_TASKS)} more`}
    </>
  );
}

/** How many nodes take work, and how many of their GPUs are free. */
export function nodeSummary(list: GpuList): string {
  const nodes = list.nodes ?? [];
  const usable = nodes.filter((node) => node.takes_work).length;
  const free = list.gpus.filter((gpu: Gpu) => gpu.state === "free").length;
  return (
    `${count(usable)} of ${count(nodes.length)} take work, ` +
    `${count(free)} of ${count(list.gpus.length)} GPUs free`
  );
}
