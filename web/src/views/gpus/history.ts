/** The history of GPUs: what the server sends, with numbers for times. */

import type { Gpu } from "../../api/model";
import type { GpuHistory, GpuPoint } from "../../api/types";
import type { Span } from "../../state/curve";

const MIB = 1024 * 1024;

export const RANGES = {
  "1h": { title: "1 hour", ms: 3_600_000 },
  "6h": { title: "6 hours", ms: 6 * 3_600_000 },
  "1d": { title: "1 day", ms: 86_400_000 },
  "7d": { title: "1 week", ms: 7 * 86_400_000 },
  "30d": { title: "30 days", ms: 30 * 86_400_000 },
} as const;
export type RangeName = keyof typeof RANGES;
export const DEFAULT_RANGE: RangeName = "7d";

export function rangeOf(text: string | null): RangeName {
  return text !== null && Object.hasOwn(RANGES, text) ? (text as RangeName) : DEFAULT_RANGE;
}

export interface Point extends Omit<GpuPoint, "at"> {
  at: number;
}

export interface Hold {
  taskId: string;
  user: string;
  since: number;
  /** `undefined`: it still holds the GPU. */
  until: number | undefined;
}

export interface Track {
  uuid: string;
  name: string | undefined;
  /** As it is now; `undefined` if it is not there any more. */
  gpu: Gpu | undefined;
  points: Point[];
  holds: Hold[];
  /** Memory that is 100 %, in MiB. */
  memory: number;
}

export interface History {
  span: Span;
  step: number;
  tracks: Track[];
}

/** Join the history with the GPUs as they are now. Either may lack some. */
export function joined(history: GpuHistory | undefined, gpus: readonly Gpu[], span: Span): History {
  const byId = new Map(gpus.map((gpu) => [gpu.uuid, gpu]));
  const tracks: Track[] = (history?.gpus ?? []).map((track) => {
    const gpu = byId.get(track.uuid);
    byId.delete(track.uuid);
    const points = track.points.map((point) => ({ ...point, at: Date.parse(point.at) }));
    return {
      uuid: track.uuid,
      name: gpu?.name ?? track.name,
      gpu,
      points,
      holds: track.holds.map((hold) => ({
        taskId: hold.task_id,
        user: hold.user_id,
        since: Date.parse(hold.since),
        until: hold.until === undefined ? undefined : Date.parse(hold.until),
      })),
      memory:
        gpu?.memory_mb ?? Math.max(1, ...points.map((point) => point.memory_used_mb_max ?? 0)),
    };
  });
  for (const gpu of byId.values())
    tracks.push({
      uuid: gpu.uuid,
      name: gpu.name,
      gpu,
      points: [],
      holds: [],
      memory: gpu.memory_mb ?? 1,
    });
  // Those that are there come in the order of their numbers.
  tracks.sort((one, other) => (one.gpu?.number ?? Infinity) - (other.gpu?.number ?? Infinity) || 0);
  const sent = history && {
    since: Date.parse(history.since),
    until: Date.parse(history.until),
  };
  return { span: sent ?? span, step: (history?.step_seconds ?? 1) * 1000, tracks };
}

export function megabytes(value: number): number {
  return value * MIB;
}

/** Averages over all points, weighted by their samples. */
export function averages(points: readonly Point[]): { held: number; utilisation?: number } {
  let samples = 0;
  let held = 0;
  let measured = 0;
  let utilisation = 0;
  for (const point of points) {
    samples += point.samples;
    held += point.held_percent * point.samples;
    if (point.utilisation_percent === undefined) continue;
    measured += point.samples;
    utilisation += point.utilisation_percent * point.samples;
  }
  const found: { held: number; utilisation?: number } = { held: samples ? held / samples : 0 };
  if (measured > 0) found.utilisation = utilisation / measured;
  return found;
}

/**
 * Who held a GPU at a time, by default at the end of the span. The last sample can't
 * answer it: it may stand for hours, and a task may have begun a minute ago.
 */
export function holders(holds: readonly Hold[], span: Span, at = span.until): Hold[] {
  return holds.filter((hold) => hold.since <= at && (hold.until === undefined || at < hold.until));
}
