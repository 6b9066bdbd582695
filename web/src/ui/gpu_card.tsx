/** One GPU in the strip of the overview. */

import type { Gpu, GpuHistory, GpuPoint, GpuTrack } from "../api/model";
import { bytes, ms, plain, relative, shortId } from "../format";
import { href } from "../router";
import { slowNow } from "../state/clock";
import { store } from "../state/store";
import { Meter } from "./meter";
import { Sparkline } from "./sparkline";
import { IdleMark, User } from "./task_link";

const MIB = 1024 * 1024;
const MOST_STEPS = 400;
/** Fewer points make no line: then a bar shows the value now. */
const ENOUGH = 8;

/** The words for each state. */
export const GPU_WORDS: Record<Gpu["state"], string> = {
  free: "free",
  held: "in use",
  busy: "blocked",
  settling: "being checked",
  drained: "drained",
  sick: "sick",
  lost: "lost",
  unknown: "unknown",
};

interface Props {
  gpu: Gpu;
  history?: GpuHistory | undefined;
  track?: GpuTrack | undefined;
}

export function GpuCard({ gpu, history, track }: Props) {
  const memory = gpu.memory_mb ?? 0;
  return (
    <li class={`gpu gpu-${gpu.state}`}>
      <div class="gpu-head">
        <span class="gpu-number">GPU {gpu.number}</span>
        <span class="gpu-state">{GPU_WORDS[gpu.state]}</span>
      </div>
      <div class="gpu-name clipped" title={gpu.uuid}>
        {plain(gpu.name ?? gpu.uuid)}
      </div>
      {gpu.utilisation_percent !== undefined && (
        <Measure
          name="Compute"
          value={gpu.utilisation_percent / 100}
          text={`${gpu.utilisation_percent} %`}
          hour={hour(history, track, (point) => point.utilisation_percent, 100)}
        />
      )}
      {memory > 0 && (
        <Measure
          name="Memory"
          value={(gpu.memory_used_mb ?? 0) / memory}
          text={bytes((gpu.memory_used_mb ?? 0) * MIB)}
          hour={hour(history, track, (point) => point.memory_used_mb, memory)}
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

interface MeasureProps {
  name: string;
  /** The share now. */
  value: number;
  text: string;
  /** The shares of the last hour, if they are known. */
  hour: readonly (number | undefined)[];
}

function Measure({ name, value, text, hour }: MeasureProps) {
  return (
    <div class="measure">
      <span class="measure-name">{name}</span>
      {hour.filter((one) => one !== undefined).length >= ENOUGH ? (
        <Sparkline values={hour} label={`${name} in the last hour`} />
      ) : (
        <Meter value={value} label={name} />
      )}
      <span class="measure-value number">{text}</span>
    </div>
  );
}

/** The points of the last hour as shares of `whole`, one for each step of the history. */
function hour(
  history: GpuHistory | undefined,
  track: GpuTrack | undefined,
  of: (point: GpuPoint) => number | undefined,
  whole: number,
): readonly (number | undefined)[] {
  const from = ms(history?.since);
  const to = ms(history?.until);
  const step = (history?.step_seconds ?? 0) * 1000;
  if (from === undefined || to === undefined || step <= 0 || whole <= 0) return [];
  const shares = new Array<number | undefined>(Math.min(MOST_STEPS, Math.ceil((to - from) / step)));
  shares.fill(undefined);
  for (const point of track?.points ?? []) {
    const value = of(point);
    const index = Math.floor(((ms(point.at) ?? 0) - from) / step);
    if (value !== undefined && index >= 0 && index < shares.length) shares[index] = value / whole;
  }
  return shares;
}

function Holders({ gpu }: { gpu: Gpu }) {
  const ids = gpu.task_ids ?? [];
  if (ids.length === 0) return null;
  const byId = new Map(store.current.running.value.map((task) => [task.id, task]));
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
              <span class="muted"> {relative(since, slowNow.value).replace(" ago", "")}</span>
            )}{" "}
            {task && <IdleMark task={task} />}
          </span>
        );
      })}
    </>
  );
}
