/** The parameters of a sweep as a person types them, and the request that they make. */

import type { CreateSweepRequest, CreateTaskRequest, SweepParameter } from "../api/types";
import { violations } from "../api/violations";
import { parseCsv, separatorOf } from "./csv";
import { cliOptions, quoted, whole } from "./task_form";

/** Every field is a text, so that what is half typed stays as it is. */
export interface SweepForm {
  /** `NAME=VALUES`, one a line, as of `fetchml sweep create -p`. */
  parameters: string;
  /** CSV with a header: each further line is one task. */
  table: string;
  sweep_name: string;
  mode: "" | NonNullable<CreateSweepRequest["mode"]>;
  samples: string;
  random_seed: string;
  max_parallel: string;
}

export type SweepFieldName = keyof SweepForm;

export const EMPTY_SWEEP: SweepForm = {
  parameters: "",
  table: "",
  sweep_name: "",
  mode: "",
  samples: "",
  random_seed: "",
  max_parallel: "",
};

const MOST_ROWS = 10_000;
const MOST_CHARACTERS = 1_024;

/** Whether the form asks for many tasks. */
export function isSweep(form: SweepForm): boolean {
  return form.parameters.trim() !== "" || form.table.trim() !== "";
}

export interface BuiltSweep {
  request: CreateSweepRequest;
  /** What the page itself cannot read, by field. All other rules are the server's. */
  faults: ReadonlyMap<string, string>;
}

export function buildSweep(form: SweepForm, task: CreateTaskRequest): BuiltSweep {
  const faults = new Map<string, string>();
  // Not an object: a name may be that of a property which every object has.
  const parameters = new Map<string, SweepParameter>();
  for (const { name, text, fault } of lines(form.parameters)) {
    const values = fault === undefined ? valuesOf(text) : fault;
    if (typeof values === "string") faults.set("parameters", values);
    else if (parameters.has(name)) faults.set("parameters", `${name} must have one line only`);
    else parameters.set(name, values);
  }
  const table = tableOf(form.table);
  if (typeof table === "string") faults.set("table", table);
  else
    for (const [name, values] of table) {
      if (parameters.has(name)) faults.set("table", `${name} must be a line or a column, not both`);
      else parameters.set(name, values);
    }
  const request: Record<string, unknown> = { task, parameters: Object.fromEntries(parameters) };
  const mode = form.mode || (form.table.trim() !== "" && "zip");
  if (mode) request.mode = mode;
  if (form.sweep_name.trim() !== "") request.name = form.sweep_name.trim();
  for (const name of ["samples", "random_seed", "max_parallel"] as const) {
    const value = whole(form[name]);
    if (value !== undefined) request[name] = value;
  }
  return { request: request as unknown as CreateSweepRequest, faults };
}

interface Line {
  name: string;
  text: string;
  fault?: string;
}

function lines(text: string): Line[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const mark = line.indexOf("=");
      const [name, values] = [line.slice(0, mark).trim(), line.slice(mark + 1).trim()];
      const fault = `${line} must be NAME=VALUES, such as lr=0.1,0.2 or seed=1..5`;
      return mark < 1 || values === "" ? { name, text: values, fault } : { name, text: values };
    });
}

const NUMBER = "[-+]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+]?\\d+)?";
const RANGE = new RegExp(`^(${NUMBER})\\.\\.(${NUMBER})(?:\\.\\.(${NUMBER}))?$`);
const DRAW = new RegExp(`^(uniform|log_uniform)\\(\\s*(${NUMBER})\\s*,\\s*(${NUMBER})\\s*\\)$`);
/** A mistyped draw. As a list it would be cut within the parentheses. */
const CALL = /^(\w+)\s*\([^()]*,[^()]*\)$/;

/** The values of one parameter; a text: the reason why they can't be read. */
function valuesOf(text: string): SweepParameter | string {
  if (text.startsWith("[")) {
    try {
      return { values: JSON.parse(text) as NonNullable<SweepParameter["values"]> };
    } catch {
      return `${text} is not a list in JSON`;
    }
  }
  const range = RANGE.exec(text);
  if (range) return { range: range.slice(1).filter((one) => one !== undefined).map(Number) };
  const draw = DRAW.exec(text);
  if (draw) {
    const bounds = [Number(draw[2]), Number(draw[3])];
    return draw[1] === "uniform" ? { uniform: bounds } : { log_uniform: bounds };
  }
  const call = CALL.exec(text);
  if (call) return `${call[1]}(…) is not a draw: write uniform(LOW,HIGH) or log_uniform(LOW,HIGH) with two numbers, or the values as a JSON list`;
  return { values: text.split(",") };
}

/** The values of each column; a text: the reason why the table can't be read. */
function tableOf(text: string): [string, SweepParameter][] | string {
  if (text.trim() === "") return [];
  const limits = { rows: MOST_ROWS + 2, characters: MOST_CHARACTERS + 1 };
  const [header = [], ...rows] = parseCsv(text, separatorOf(text, ""), limits).rows;
  if (rows.length === 0) return "must have the names in its first line, and a line for each task";
  const wrong = rows.findIndex((row) => row.length !== header.length);
  if (wrong >= 0) return `row ${wrong + 1} must have ${header.length} values, as the header has`;
  const names = header.map((name) => name.trim());
  if (new Set(names).size < names.length) return "must have each name in its first line only once";
  return names.map((name, column) => [name, { values: rows.map((row) => row[column] ?? "") }]);
}

/** Return the rules that an error of the server names, by the field of either form. */
export function sweepViolations(
  text: string,
  request: CreateSweepRequest,
  taskFields: readonly string[],
): Map<string, string> {
  const parameters = Object.keys(request.parameters).map((name) => `parameters.${name}`);
  const own = ["parameters", "mode", "samples", "random_seed", "max_parallel"];
  const names = [...taskFields.map((name) => `task.${name}`), ...parameters, ...own, "name"];
  const found = new Map<string, string>();
  for (const [name, rule] of violations(text, names)) {
    if (name.startsWith("task.")) found.set(name.slice(5), rule);
    else if (name.startsWith("parameters.")) found.set("parameters", `${name.slice(11)}: ${rule}`);
    else found.set(name === "name" ? "sweep_name" : name, rule);
  }
  return found;
}

/** The command of a terminal that creates the same; `undefined` with a table, which is a file. */
export function sweepCommand(form: SweepForm, request: CreateSweepRequest): string | undefined {
  if (form.table.trim() !== "") return undefined;
  const words = ["fetchml", "sweep", "create"];
  for (const { name, text } of lines(form.parameters)) words.push("-p", quoted(`${name}=${text}`));
  for (const [option, value] of [
    ["--sweep-name", request.name],
    ["--mode", request.mode],
    ["--samples", request.samples],
    ["--random-seed", request.random_seed],
    ["--max-parallel", request.max_parallel],
  ] as const)
    if (value !== undefined) words.push(option, quoted(String(value)));
  return [...words, ...cliOptions(request.task)].join(" ");
}
