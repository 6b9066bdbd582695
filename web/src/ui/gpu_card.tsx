/** One GPU in the strip of the overview. */

import type { Gpu } from "../api/model";
import { bytes, ms, plain, relative, shortId } from "../format";
import { href } from "../router";
import { now } from "../state/clock";
import { store } from "../state/store";
import { Meter } from "./meter";
import { User } from "./task_link";

const MIB = 1024 * 1024;

/** The words for each state. */
const WORDS: Record<Gpu["state"], string> = {
  free: "free",
  held: "in use",
  busy: "blocked",
  settling: "being checked",
  drained: "drained",
  sick: "sick",
  lost: "lost",
  unknown: "unknown",
};

export function GpuCard({ gpu }: { gpu: Gpu }) {
  return (
    <li class={`gpu gpu-${gpu.state}`}>
      <div class="gpu-head">
        <span class="gpu-number">GPU {gpu.number}</span>
        <span class="gpu-state">{WORDS[gpu.state]}</span>
      </div>
      <div class="gpu-name clipped" title={gpu.uuid}>
        {plain(gpu.name ?? gpu.uuid)}
      </div>
      {gpu.utilisation_percent !== undefined && (
        <Measure
          name="Compute"
          value={gpu.utilisation_percent / 100}
          text={`${gpu.utilisation_percent} %`}
        />
      )}
      {gpu.memory_mb !== undefined && gpu.memory_mb > 0 && (
        <Measure
          name="Memory"
          value={(gpu.memory_used_mb ?? 0) / gpu.memory_mb}
          text={bytes((gpu.memory_used_mb ?? 0) * MIB)}
        />
      )}
      <div class="gpu-use">
        {gpu.reason ? (
          <span class="gpu-reason" title={gpu.reason}>
            {plain(gpu.reason)}
          </span>
        ) : (
          <Holders gpu={gpu} />
        )}
      </div>
    </li>
  );
}

function Measure({ name, value, text }: { name: string; value: number; text: string }) {
  return (
    <div class="measure">
      <span class="measure-name">{name}</span>
      <Meter value={value} label={name} />
      <span class="measure-value number">{text}</span>
    </div>
  );
}

function Holders({ gpu }: { gpu: Gpu }) {
  const ids = gpu.task_ids ?? [];
  if (ids.length === 0) return null;
  const byId = new Map(store.running.value.map((task) => [task.id, task]));
  return (
    <>
      {ids.map((id) => {
        const task = byId.get(id);
        const since = ms(task?.started_at);
        return (
          <span key={id} class="gpu-holder">
            <a href={href(["tasks", id])}>{task ? plain(task.job_name) : shortId(id)}</a>{" "}
            <User name={task?.user_id} />
            {since !== undefined && (
              <span class="muted"> {relative(since, now.value).replace(" ago", "")}</span>
            )}
          </span>
        );
      })}
    </>
  );
}
