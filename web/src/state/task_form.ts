/** The fields of a new task as a person types them, and the request that they make. */

import type { Task } from "../api/model";
import type { CreateTaskRequest, DatasetSpec, Dependency, Environment, SecretUse } from "../api/types";
import { shellQuoted } from "../format";
import { targets, targetText } from "./notify";
import { shellWords } from "./shell_words";
import { duration, durationText } from "./time_text";

/** Every field is a text, so that what is half typed stays as it is. */
export interface TaskForm {
  job_name: string;
  command: string;
  args: string;
  image: string;
  snapshot_id: string;
  /** Names, separated by commas or blanks, as in the other lists. */
  datasets: string;
  /** Of a duplicated task; the form keeps them as they are. */
  dataset_specs: readonly DatasetSpec[];
  volumes: string;
  /** Names, each alone for a variable or with `:file`. */
  secrets: string;
  /** Names of GRANTED: entries of the code's fetchml.toml to leave out. */
  without: string;
  environment_kind: "" | Exclude<keyof Environment, "versions">;
  /** The path of `environment_kind`. */
  environment: string;
  gpu: string;
  cpu: string;
  memory_gb: string;
  timeout_seconds: string;
  max_retries: string;
  priority: string;
  experiment_id: string;
  /** `NAME=value`, one a line. */
  env: string;
  metadata: string;
  preemptible: boolean;
  may_idle: boolean;
  checkpoint: boolean;
  checkpoint_from: string;
  warn_seconds: string;
  /**
   * Ids, each alone or with `:ended` or `:failed`, and with `sweep:` before that of a sweep;
   * separated by commas or blanks.
   */
  after: string;
  inputs_from: string;
  /** In the browser's time zone, as `<input type="datetime-local">` has it. */
  start_after: string;
  hold: boolean;
  /** As `targets` reads it. */
  notify: string;
  /** `name=value`, one a line. */
  slurm: string;
}

export type FieldName = keyof TaskForm;

/** Entries of a fetchml.toml that a request has to grant or to leave out. */
const GRANTED = ["secrets", "volumes", "notify"] as const;

export const EMPTY_FORM: TaskForm = {
  job_name: "",
  command: "",
  args: "",
  image: "",
  snapshot_id: "",
  datasets: "",
  dataset_specs: [],
  volumes: "",
  secrets: "",
  without: "",
  environment_kind: "",
  environment: "",
  gpu: "",
  cpu: "",
  memory_gb: "",
  timeout_seconds: "",
  max_retries: "",
  priority: "",
  experiment_id: "",
  env: "",
  metadata: "",
  preemptible: false,
  may_idle: false,
  checkpoint: false,
  checkpoint_from: "",
  warn_seconds: "",
  after: "",
  inputs_from: "",
  start_after: "",
  hold: false,
  notify: "",
  slurm: "",
};

export const FIELDS = Object.keys(EMPTY_FORM) as readonly FieldName[];

export interface Built {
  request: CreateTaskRequest;
  /** What the page itself cannot read, by field. All other rules are the server's. */
  faults: ReadonlyMap<string, string>;
}

/** Make the request. A field that is left empty is left out: the server's default applies. */
export function build(form: TaskForm): Built {
  const faults = new Map<string, string>();
  const request: Record<string, unknown> = { job_name: form.job_name };
  const add = (name: FieldName, value: unknown) => {
    if (value !== undefined && value !== "") request[name] = value;
  };
  const command = shellWords(form.command);
  if ("fault" in command) faults.set("command", `can't be split as a shell would: ${command.fault}`);
  else if (command.words.length > 0) request.command = command.words;
  for (const name of ["args", "image", "snapshot_id", "experiment_id", "checkpoint_from"] as const)
    add(name, form[name].trim());
  for (const name of ["gpu", "cpu", "memory_gb", "max_retries", "priority"] as const)
    add(name, whole(form[name]));
  for (const name of ["datasets", "volumes", "inputs_from"] as const) {
    const names = listed(form[name]);
    if (names.length > 0) request[name] = names;
  }
  const without = listed(form.without);
  if (without.length > 0) request.without = without;
  const after = listed(form.after).map(dependency);
  if (after.length > 0) request.after = after;
  const notify = targets(form.notify);
  if (notify.length > 0) request.notify = notify;
  const secrets = listed(form.secrets).map(secretUse);
  if (secrets.length > 0) request.secrets = secrets;
  if (form.environment_kind !== "")
    request.environment = { [form.environment_kind]: form.environment.trim() };
  if (form.start_after !== "") request.start_after = new Date(form.start_after).toISOString();
  if (form.dataset_specs.length > 0) request.dataset_specs = form.dataset_specs;
  for (const name of ["timeout_seconds", "warn_seconds"] as const) {
    const seconds = duration(form[name]);
    if (Number.isNaN(seconds)) faults.set(name, "must be like 90s, 30m, 12h or 2d");
    else add(name, seconds);
  }
  for (const name of ["env", "metadata", "slurm"] as const) {
    const { entries, fault } = pairs(form[name]);
    if (fault !== undefined) faults.set(name, fault);
    else if (entries.length > 0) request[name] = Object.fromEntries(entries);
  }
  for (const name of ["preemptible", "may_idle", "checkpoint", "hold"] as const)
    if (form[name]) request[name] = true;
  return { request: request as CreateTaskRequest, faults };
}

/**
 * Fill the form from a task of the full view. Values of its environment and the paths of its
 * webhooks are not readable. What the task does not have stays away, whatever its code asks for.
 */
export function fromTask(task: Task): TaskForm {
  const text = (value: number | undefined) => (value === undefined ? "" : String(value));
  const lines = (pairs: Record<string, string> | undefined) =>
    Object.entries(pairs ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join("\n");
  const { versions: _, ...environment } = task.environment ?? {};
  const [kind, path] = Object.entries(environment)[0] ?? ["", ""];
  return {
    ...EMPTY_FORM,
    job_name: task.job_name,
    command: (task.command ?? []).map(quoted).join(" "),
    args: task.args ?? "",
    image: task.image ?? "",
    snapshot_id: task.snapshot_id ?? "",
    datasets: (task.datasets ?? []).join(", "),
    dataset_specs: task.dataset_specs ?? [],
    gpu: text(task.gpu),
    cpu: text(task.cpu),
    memory_gb: text(task.memory_gb),
    timeout_seconds: durationText(task.timeout_seconds),
    max_retries: text(task.max_retries),
    priority: text(task.priority),
    experiment_id: task.experiment_id ?? "",
    env: (task.env_names ?? []).map((name) => `${name}=`).join("\n"),
    metadata: lines(task.metadata),
    preemptible: task.preemptible ?? false,
    may_idle: task.may_idle ?? false,
    volumes: (task.volumes ?? []).join(", "),
    secrets: (task.secrets ?? []).map(secretText).join(", "),
    without:
      task.snapshot_id === undefined
        ? ""
        : GRANTED.filter((name) => (task[name] ?? []).length === 0).join(", "),
    environment_kind: kind as TaskForm["environment_kind"],
    environment: path,
    checkpoint: task.checkpoint ?? false,
    checkpoint_from: task.checkpoint_from ?? "",
    warn_seconds: durationText(task.warn_seconds || undefined),
    after: (task.after ?? []).map(dependencyText).join(", "),
    inputs_from: (task.inputs_from ?? []).join(", "),
    slurm: lines(task.slurm),
  };
}

/** The command of a terminal that submits the same. */
export function cliCommand(request: CreateTaskRequest): string {
  return ["fetchml", "submit", ...cliOptions(request)].join(" ");
}

/** The options of `fetchml submit` and `fetchml sweep create`, and the command. */
export function cliOptions(request: CreateTaskRequest): string[] {
  const words: string[] = [];
  const option = (name: string, value: unknown) => {
    if (value !== undefined) words.push(name, quoted(String(value)));
  };
  option("--name", request.job_name || undefined);
  option("--image", request.image);
  option("--snapshot", request.snapshot_id);
  option("--gpu", request.gpu);
  option("--cpu", request.cpu);
  option("--memory-gb", request.memory_gb);
  option("--priority", request.priority);
  option("--timeout", request.timeout_seconds);
  option("--retries", request.max_retries);
  option("--experiment", request.experiment_id);
  for (const name of request.datasets ?? []) option("--dataset", name);
  for (const [key, value] of Object.entries(request.env ?? {})) option("--env", `${key}=${value}`);
  for (const [key, value] of Object.entries(request.metadata ?? {}))
    option("--metadata", `${key}=${value}`);
  for (const name of request.volumes ?? []) option("--volume", name);
  for (const use of request.secrets ?? []) option("--secret", secretText(use));
  for (const name of request.without ?? []) option("--without", name);
  option("--environment", environmentFile(request.environment));
  if (request.preemptible) words.push("--preemptible");
  if (request.may_idle) words.push("--may-idle");
  if (request.checkpoint) words.push("--checkpoint");
  option("--from-checkpoint", request.checkpoint_from);
  option("--warn-seconds", request.warn_seconds);
  for (const one of request.after ?? [])
    option("--after", typeof one === "string" ? one : dependencyText(one));
  for (const id of request.inputs_from ?? []) option("--inputs-from", id);
  option("--start-after", request.start_after);
  if (request.hold) words.push("--hold");
  for (const target of request.notify ?? []) option("--notify", targetText(target));
  for (const [key, value] of Object.entries(request.slurm ?? {}))
    option("--slurm", `${key}=${value}`);
  if (request.args !== undefined) option("--args", request.args);
  if (request.command) words.push("--", ...request.command.map(quoted));
  return words;
}

const SWEEP = "sweep:";

/** `ID`, `ID:ended`, `sweep:ID` or `sweep:ID:ended`, as of `fetchml submit --after`. */
function dependency(text: string): Dependency | string {
  const isSweep = text.startsWith(SWEEP);
  const [id = "", given] = (isSweep ? text.slice(SWEEP.length) : text).split(":");
  const condition = given as Dependency["condition"];
  if (!isSweep && condition === undefined) return id;
  return {
    ...(isSweep ? { sweep_id: id } : { task_id: id }),
    ...(condition !== undefined && { condition }),
  };
}

/** A dependency on the task with the same index in a sweep becomes one on that task. */
function dependencyText({ task_id, sweep_id, condition }: Dependency): string {
  const named = task_id ?? `${SWEEP}${sweep_id ?? ""}`;
  return condition === undefined || condition === "completed" ? named : `${named}:${condition}`;
}

/** `NAME`, or `NAME:file`, as of `fetchml submit --secret`. */
function secretUse(text: string): SecretUse {
  const [name = "", as] = text.split(":");
  return as === undefined ? { name } : { name, as: as as NonNullable<SecretUse["as"]> };
}

function secretText({ name, as }: SecretUse): string {
  return as === "file" ? `${name}:file` : name;
}

/** The file that `fetchml submit --environment` takes. */
function environmentFile(environment: Environment | undefined): string | undefined {
  if (environment?.project === undefined) return environment?.requirements ?? environment?.script;
  return environment.project === "." ? "uv.lock" : `${environment.project}/uv.lock`;
}

function listed(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

export function quoted(text: string): string {
  return text === "" ? "''" : shellQuoted(text);
}

/** A number; a text that is none goes to the server, which explains what is wrong with it. */
export function whole(text: string): number | string | undefined {
  const digits = text.trim();
  if (digits === "") return undefined;
  return /^-?\d{1,15}$/.test(digits) ? Number(digits) : digits;
}

function pairs(text: string): { entries: [string, string][]; fault?: string } {
  const entries: [string, string][] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const mark = line.indexOf("=");
    if (mark < 1) return { entries, fault: `line ${index + 1} must be NAME=value` };
    entries.push([line.slice(0, mark).trim(), line.slice(mark + 1)]);
  }
  return { entries };
}
