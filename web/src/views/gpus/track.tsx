/** One GPU: its state, its curves, and who held it. */

import { useMemo, useState } from "preact/hooks";
import type { Gpu } from "../../api/model";
import { bytes, duration, moment, plain, shortId } from "../../format";
import { href } from "../../router";
import { slowNow } from "../../state/clock";
import { curve, place, sampleAt, WIDTH, type Span } from "../../state/curve";
import { store } from "../../state/store";
import { SmallButton } from "../../ui/button";
import { confirmed } from "../../ui/dialog";
import { GPU_WORDS } from "../../ui/gpu_card";
import { perform } from "../../ui/perform";
import { number, Table } from "../../ui/table";
import { User } from "../../ui/task_link";
import { cursor } from "./cursor";
import { averages, holders, megabytes, type History, type Hold, type Point, type Track } from "./history";

const HEIGHT = 120;
const SHOWN_HOLDS = 50;

interface Props {
  track: Track;
  history: History;
  services: ReadonlyMap<string, string>;
}

export function TrackPanel({ track, history, services }: Props) {
  const { gpu, uuid } = track;
  const { span, step } = history;
  const at = cursor.value;
  const point = at === undefined ? track.points.at(-1) : sampleAt(track.points, step, at);
  const title = gpu ? `GPU ${gpu.number}` : "Former GPU";
  const id = `gpu-${uuid}`;
  return (
    <section class={`panel gpu-track gpu-${gpu?.state ?? "lost"}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>
          {title} <span class="muted gpu-model">{plain(track.name ?? uuid)}</span>
        </h2>
        <div class="panel-aside gpu-aside">
          <span class="gpu-state">{gpu ? GPU_WORDS[gpu.state] : "not there any more"}</span>
          {gpu?.temperature_c !== undefined && <span class="number">{gpu.temperature_c} °C</span>}
          {gpu && store.isAdmin.value && <Drain gpu={gpu} />}
        </div>
      </header>
      {gpu?.reason && <p class="gpu-track-reason">{plain(gpu.reason)}</p>}
      {gpu?.packing_room_mb !== undefined && (
        <p class="gpu-track-room">
          {gpu.packing_room_mb > 0
            ? `${(gpu.packing_room_mb / 1024).toFixed(1)} GiB of memory for another task`
            : "No room in its memory for another task"}
        </p>
      )}
      <div class="gpu-chart">
        <Readout point={point} holds={holders(track.holds, span, at)} services={services} />
        <Curves track={track} span={span} step={step} title={title} />
        <Holds holds={track.holds} span={span} />
        <Axis span={span} />
      </div>
      <HoldTable holds={track.holds} services={services} span={span} />
    </section>
  );
}

function Drain({ gpu }: { gpu: Gpu }) {
  const [isSending, setSending] = useState(false);
  const isDrained = gpu.drained_by !== undefined;
  const isSick = gpu.state === "sick";
  const verb = isDrained || isSick ? "undrain" : "drain";
  async function send(): Promise<string> {
    setSending(true);
    await store.http.call("POST", `/v1/gpus/${encodeURIComponent(gpu.uuid)}/${verb}`);
    await store.gpus.refresh();
    return verb === "drain" ? `GPU ${gpu.number} is drained` : `GPU ${gpu.number} is in use again`;
  }

  async function act(): Promise<void> {
    if (verb === "drain") {
      const yes = await confirmed({
        title: `Drain GPU ${gpu.number}?`,
        text: "No further task starts on it. Those that run on it continue.",
        action: "Drain",
      });
      if (!yes) return;
    }
    await perform(send);
    setSending(false);
  }

  return (
    <>
      {isDrained && <span>by {plain(gpu.drained_by ?? "")}</span>}
      <SmallButton disabled={isSending} onClick={() => void act()}>
        {verb === "drain" ? "Drain" : "Undrain"}
      </SmallButton>
    </>
  );
}

interface ReadoutProps {
  point: Point | undefined;
  holds: readonly Hold[];
  services: ReadonlyMap<string, string>;
}

/** The values at the cursor. */
function Readout({ point, holds, services }: ReadoutProps) {
  if (!point) return <p class="readout muted">No samples at this time.</p>;
  const parts: [key: string, name: string, text: string | undefined][] = [
    ["compute", "Compute", percent(point.utilisation_percent)],
    [
      "memory",
      "Memory",
      point.memory_used_mb === undefined ? undefined : bytes(megabytes(point.memory_used_mb)),
    ],
    ["", "Temperature", point.temperature_c === undefined ? undefined : `${Math.round(point.temperature_c)} °C`],
    ["", "Power", point.power_w === undefined ? undefined : `${Math.round(point.power_w)} W`],
  ];
  return (
    <p class="readout">
      {parts.map(
        ([key, name, text]) =>
          text !== undefined && (
            <span key={name} class="readout-part">
              {key && <span class={`key key-${key}`} aria-hidden="true" />}
              {name} <b class="number">{text}</b>
            </span>
          ),
      )}
      <span class="readout-part">
        {holds.length === 0
          ? "held by nobody"
          : holds.map((hold, index) => (
              <span key={hold.taskId}>
                {index === 0 ? "held by " : ", "}
                <Holder hold={hold} services={services} /> <User name={hold.user} />
              </span>
            ))}
      </span>
    </p>
  );
}

function percent(value: number | undefined): string | undefined {
  return value === undefined ? undefined : `${Math.round(value)} %`;
}

function Holder({ hold, services }: { hold: Hold; services: ReadonlyMap<string, string> }) {
  const service = services.get(hold.taskId);
  if (service !== undefined) return <a href={href(["jupyter"])}>Jupyter {plain(service)}</a>;
  const task = store.current.running.value.find((one) => one.id === hold.taskId);
  return (
    <a href={href(["tasks", hold.taskId])} title={hold.taskId}>
      {task ? plain(task.job_name) : <code>{shortId(hold.taskId)}</code>}
    </a>
  );
}

interface CurvesProps {
  track: Track;
  span: Span;
  step: number;
  title: string;
}

function Curves({ track, span, step, title }: CurvesProps) {
  const { points, memory } = track;
  const [compute, used, held] = useMemo(() => {
    const values = (value: (point: Point) => number | undefined, most: number) =>
      curve(
        points.map((point) => ({ at: point.at, value: value(point) })),
        step,
        span,
        most,
        HEIGHT,
      );
    return [
      values((point) => point.utilisation_percent, 100),
      values((point) => point.memory_used_mb, memory),
      averages(points),
    ] as const;
  }, [points, span, step, memory]);
  const summary = [
    held.utilisation !== undefined && `Computed ${percent(held.utilisation)} of the time`,
    points.length > 0 && `held ${percent(held.held)} of it`,
  ].filter(Boolean);
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const share = (event.clientX - box.left) / Math.max(1, box.width);
    cursor.value = span.since + Math.min(1, Math.max(0, share)) * (span.until - span.since);
  };
  const at = cursor.value;
  return (
    <svg
      class="curves"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${title}: ${summary.length > 0 ? summary.join(", ") : "no samples"}`}
      onPointerMove={point}
      onPointerDown={point}
      onPointerLeave={() => {
        cursor.value = undefined;
      }}
    >
      {[0, HEIGHT / 2, HEIGHT].map((y) => (
        <line key={y} class="curve-grid" x1={0} x2={WIDTH} y1={y} y2={y} />
      ))}
      <path class="curve-area" d={compute.area} />
      <path class="curve-line curve-compute" d={compute.line} />
      <path class="curve-line curve-memory" d={used.line} />
      {at !== undefined && at >= span.since && (
        <line class="curve-cursor" x1={place(at, span)} x2={place(at, span)} y1={0} y2={HEIGHT} />
      )}
    </svg>
  );
}

/** Below the curves: who held it when. */
function Holds({ holds, span }: { holds: readonly Hold[]; span: Span }) {
  const own = store.session.value?.user;
  return (
    <svg class="holds" viewBox={`0 0 ${WIDTH} 10`} preserveAspectRatio="none" aria-hidden="true">
      <rect class="holds-free" width={WIDTH} height={10} />
      {holds.map((hold) => {
        const left = place(hold.since, span);
        const right = place(hold.until ?? span.until, span);
        return (
          <rect
            key={`${hold.taskId}-${hold.since}`}
            class={hold.user === own ? "hold hold-own" : "hold"}
            x={left}
            width={Math.max(1.5, right - left - 0.6)}
            height={10}
          />
        );
      })}
    </svg>
  );
}

const TICKS = 4;

function Axis({ span }: { span: Span }) {
  const times = Array.from(
    { length: TICKS + 1 },
    (_, index) => span.since + (index / TICKS) * (span.until - span.since),
  );
  return (
    <div class="axis number" aria-hidden="true">
      {times.map((time) => (
        <span key={time}>{moment(time, slowNow.value)}</span>
      ))}
    </div>
  );
}

interface TableProps {
  holds: readonly Hold[];
  services: ReadonlyMap<string, string>;
  span: Span;
}

function HoldTable({ holds, services, span }: TableProps) {
  const users = useMemo(() => byUser(holds, span), [holds, span]);
  if (holds.length === 0) return null;
  return (
    <details class="hold-details">
      <summary>
        Who held it: {users.map(([user, time]) => `${plain(user)} ${duration(time)}`).join(", ")}
      </summary>
      <Table columns={["Task", "User", "From", "Until", number("Time")]}>
        {holds.slice(0, SHOWN_HOLDS).map((hold) => (
          <tr key={`${hold.taskId}-${hold.since}`}>
            <td>
              <Holder hold={hold} services={services} />
            </td>
            <td>
              <User name={hold.user} />
            </td>
            <td>{moment(hold.since, slowNow.value)}</td>
            <td>{hold.until === undefined ? "now" : moment(hold.until, slowNow.value)}</td>
            <td class="number">{duration((hold.until ?? slowNow.value) - hold.since)}</td>
          </tr>
        ))}
      </Table>
      {holds.length > SHOWN_HOLDS && (
        <p class="rows-more">The latest {SHOWN_HOLDS} of {holds.length}. Choose a shorter time for others.</p>
      )}
    </details>
  );
}

/** How long each user held it within the span, the longest first. */
function byUser(holds: readonly Hold[], span: Span): [user: string, time: number][] {
  const times = new Map<string, number>();
  for (const hold of holds) {
    const time = Math.min(hold.until ?? span.until, span.until) - Math.max(hold.since, span.since);
    if (time > 0) times.set(hold.user, (times.get(hold.user) ?? 0) + time);
  }
  return [...times].toSorted(([, one], [, other]) => other - one);
}
