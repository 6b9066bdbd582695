/** What a task uses: processor, memory, disk, and its GPUs. */

import { useEffect, useMemo } from "preact/hooks";
import {
  ENDED,
  type GpuHistory,
  type GpuPoint,
  type Task,
  type TaskUsage,
  type UsagePoint,
} from "../../api/model";
import { bytes, ms } from "../../format";
import { Chart } from "../../ui/chart";
import { Empty, Loading, Problem } from "../../ui/notes";
import { useRead } from "../../ui/use";

const EVERY_MS = 10_000;
const POINTS = 300;
const MIB = 1024 * 1024;
const COLOURS = ["running", "preparing", "collecting", "completed", "warning", "failed"];

export default function Usage({ task }: { task: Task }) {
  const { id } = task;
  const usage = useRead<TaskUsage>(
    `/v1/tasks/${encodeURIComponent(id)}/usage`,
    { points: POINTS },
    ENDED.has(task.status) ? undefined : EVERY_MS,
  );
  useEffect(() => void usage.refresh(), [task.status]);
  const found = usage.data.value;
  if (!found)
    return usage.error.value ? (
      <Problem text={usage.error.value} retry={() => void usage.refresh()} />
    ) : (
      <Loading />
    );
  const points = found.points ?? [];
  if (points.length === 0)
    return (
      <Empty>
        {ENDED.has(task.status)
          ? "It ended before the first sample was taken, or the samples are no longer kept."
          : "The first sample is taken ten seconds after the start."}
      </Empty>
    );
  return (
    <div class="charts">
      <OwnCharts task={task} points={points} />
      {(task.gpu_uuids?.length ?? 0) > 0 && <GpuCharts task={task} />}
    </div>
  );
}

function OwnCharts({ task, points }: { task: Task; points: readonly UsagePoint[] }) {
  const times = useMemo(() => points.map((point) => (ms(point.at) ?? 0) / 1000), [points]);
  const of = (name: keyof UsagePoint) =>
    points.map((point) => {
      const value = point[name];
      return typeof value === "number" ? value : null;
    });
  const cores = useMemo(
    () => [{ name: "Cores", colour: "running", values: of("cpu_cores"), isFilled: true }],
    [points],
  );
  const memory = useMemo(
    () => [{ name: "Memory", colour: "preparing", values: of("memory_mb"), isFilled: true }],
    [points],
  );
  const disk = useMemo(
    () => [
      { name: "Read", colour: "collecting", values: of("read_mb_per_second") },
      { name: "Written", colour: "warning", values: of("write_mb_per_second") },
    ],
    [points],
  );
  return (
    <>
      <Chart
        label="CPU cores"
        times={times}
        series={cores}
        format={(value) => (value < 10 ? value.toFixed(1) : value.toFixed(0))}
        max={task.cpu || 1}
      />
      <Chart
        label="Memory"
        times={times}
        series={memory}
        format={(value) => bytes(value * MIB)}
        max={(task.memory_gb ?? 0) * 1024}
      />
      <Chart
        label="Disk"
        times={times}
        series={disk}
        format={(value) => `${bytes(value * MIB)}/s`}
        max={1}
      />
    </>
  );
}

/** The task's GPUs in the time of its current or last attempt. */
function GpuCharts({ task }: { task: Task }) {
  const history = useRead<GpuHistory>(
    "/v1/gpus/history",
    { since: task.started_at, until: task.ended_at, points: POINTS },
    task.ended_at === undefined ? EVERY_MS : undefined,
  );
  const own = new Set(task.gpu_uuids ?? []);
  const tracks = (history.data.value?.gpus ?? []).filter((track) => own.has(track.uuid));
  const times = useMemo(
    () =>
      [...new Set(tracks.flatMap((track) => (track.points ?? []).map((point) => point.at)))]
        .sort()
        .map((at) => (ms(at) ?? 0) / 1000),
    [history.data.value],
  );
  const of = (name: keyof GpuPoint) =>
    tracks.map((track, index) => {
      const byTime = new Map(
        (track.points ?? []).map((point) => [(ms(point.at) ?? 0) / 1000, point[name]]),
      );
      return {
        name: `GPU ${index + 1}`,
        colour: COLOURS[index % COLOURS.length] as string,
        values: times.map((time) => {
          const value = byTime.get(time);
          return typeof value === "number" ? value : null;
        }),
      };
    });
  const utilisation = useMemo(() => of("utilisation_percent"), [times]);
  const memory = useMemo(() => of("memory_used_mb"), [times]);
  if (task.started_at === undefined || times.length === 0)
    return <Problem text={history.error.value} />;
  return (
    <>
      <Chart
        label="GPU utilisation"
        times={times}
        series={utilisation}
        format={(value) => `${value.toFixed(0)} %`}
        max={100}
      />
      <Chart
        label="GPU memory"
        times={times}
        series={memory}
        format={(value) => bytes(value * MIB)}
      />
    </>
  );
}
