/**
 * The API's types as views use them: those of openapi.yaml, where the contract leaves every field
 * optional, with the fields that the server always sends.
 */

import type * as Api from "./types";

type With<T, Sent extends keyof T> = T & { [Name in Sent]-?: NonNullable<T[Name]> };

export type Task = With<Api.Task, "id" | "job_name" | "status" | "priority" | "created_at">;
export type TaskAttempt = Api.TaskAttempt;
export type Status = Task["status"];
export type Role = "viewer" | "user" | "admin";

export const STATUSES: readonly Status[] = [
  "queued",
  "preparing",
  "running",
  "collecting",
  "completed",
  "failed",
];
export const ENDED: ReadonlySet<Status> = new Set<Status>(["completed", "failed"]);
/** The statuses of a task that holds resources. */
export const HOLDING: ReadonlySet<Status> = new Set<Status>(["preparing", "running", "collecting"]);

export interface TaskList {
  tasks: Task[];
  total: number;
  next_page_token?: string;
}

export type TaskExplanation = With<Api.TaskExplanation, "reason">;
export type ResourceShortage = Api.TaskExplanationResourceShortage;
export type StartEstimate = Api.TaskExplanationStartEstimate;
export type QueueStats = Required<Api.QueueStats>;
export type Gpu = With<Api.Gpu, "uuid" | "number" | "state">;
export type GpuState = Gpu["state"];
export type GpuNode = Api.Node;
export interface GpuList extends Omit<Api.GpuList, "gpus"> {
  gpus: Gpu[];
}
export type TaskOutput = With<Api.TaskOutput, "path" | "size_bytes">;
export type Health = Required<Api.HealthResponse>;
export type ErrorBody = Api.ErrorResponse;
export type ErrorCode = NonNullable<ErrorBody["code"]>;

/** A waiting task in the order of the queue. */
export interface Waiting {
  task: Task;
  /** Absent while a retry is delayed. */
  position?: number;
  reason?: string;
  estimate?: StartEstimate;
}

export interface WaitingList {
  waiting: Waiting[];
  /** All waiting tasks that the caller may see. */
  total: number;
}

/** A message of `/ws` in batches. */
export interface LiveMessage {
  type: "task_batch" | "resync" | "ping" | "pong";
  seq?: number;
  timestamp?: string;
  tasks?: Task[];
  deleted?: Task[];
}

export interface LogInfo {
  task_id: string;
  /** 0: no attempt has started. */
  attempt: number;
  attempts: number;
  /** First byte that is kept. */
  offset: number;
  end: number;
  may_grow: boolean;
  times: { at: string; offset: number }[];
}

export interface LogMatch {
  offset: number;
  line_offset: number;
  text: string;
  at?: string;
}

export interface LogMatches {
  attempt: number;
  matches: LogMatch[];
  next_offset?: number;
}

/** The average and the maximum of a task's samples in a part of time. */
export interface UsagePoint {
  at: string;
  attempt?: number;
  samples?: number;
  cpu_cores?: number;
  cpu_cores_max?: number;
  memory_mb?: number;
  memory_mb_max?: number;
  read_mb_per_second?: number;
  write_mb_per_second?: number;
}

export interface TaskUsage {
  task_id: string;
  since?: string;
  until?: string;
  step_seconds?: number;
  points?: UsagePoint[];
  total?: UsagePoint;
}

export interface GpuPoint {
  at: string;
  held_percent?: number;
  utilisation_percent?: number;
  utilisation_percent_max?: number;
  memory_used_mb?: number;
  memory_used_mb_max?: number;
  temperature_c?: number;
  power_w?: number;
}

export interface GpuTrack {
  uuid: string;
  name?: string;
  points?: GpuPoint[];
  holds?: { task_id?: string; user_id?: string; since: string; until?: string }[];
}

export interface GpuHistory {
  since: string;
  until: string;
  step_seconds?: number;
  gpus?: GpuTrack[];
}

export type ExperimentResult = With<
  Api.ExperimentResult,
  "task_id" | "job_name" | "status" | "created_at"
>;
export interface ExperimentResults {
  results: ExperimentResult[];
  total: number;
}

export type SnapshotFile = With<Api.SnapshotFile, "path" | "kind">;
export interface SnapshotFiles {
  files: SnapshotFile[];
  total: number;
}

/** What a training logged. (`Run` in state/runs.ts is a task of an experiment.) */
export type LoggedRun = Api.Run;
export type LatestPoint = Api.LatestPoint;
export type Curve = Api.Curve;

export interface RunList {
  runs: LoggedRun[];
  next_page_token?: string;
}
