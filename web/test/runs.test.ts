import assert from "node:assert/strict";
import { test } from "node:test";
import {
  columnsOf,
  differing,
  filtered,
  numeric,
  parametersOf,
  shown,
  sorted,
  valuesOf,
  type Run,
  type RunData,
} from "../src/state/runs";
import { scaleOf } from "../src/state/scale";

const run = (id: string, data: RunData, fields: Partial<Run> = {}): Run => ({
  id,
  name: "train",
  status: "completed",
  user: "ada",
  duration: 1000,
  createdAt: "2026-01-01T00:00:00Z",
  values: valuesOf(data),
  ...fields,
});

test("parameters are the options of a command line", () => {
  const found = parametersOf({
    command: ["python", "train.py", "--fp16", "-v"],
    args: `--lr 1e-3 --name='a b' --shift -5 optimizer.kind=adam +seed=7 file.txt`,
  });
  assert.deepEqual([...found], [
    ["fp16", "true"],
    ["v", "true"],
    ["lr", 0.001],
    ["name", "a b"],
    ["shift", -5],
    ["optimizer.kind", "adam"],
    ["seed", 7],
  ]);
});

test("arguments that no shell could split have no parameters", () => {
  assert.equal(parametersOf({ args: "--lr 'x" }).size, 0);
});

const runs = [
  run("a", { args: "--lr 0.1 --seed 1", labels: { team: "x" }, metrics: { loss: 0.5 } }),
  run("b", { args: "--lr 0.01 --seed 1", labels: { team: "x" }, metrics: { loss: 0.25 } }),
  run("c", { args: "--lr 1 --seed 1", labels: { team: "x" } }, { status: "failed" }),
];
const columns = columnsOf(runs);

test("columns are parameters, then results, then labels", () => {
  assert.deepEqual(
    columns.map((column) => column.key),
    ["parameter:lr", "parameter:seed", "result:loss", "label:team"],
  );
});

test("equal columns can be hidden, and results stay", () => {
  assert.deepEqual(
    differing(columns, runs).map((column) => column.name),
    ["lr", "loss"],
  );
  assert.equal(differing(columns, runs.slice(0, 1)).length, 4);
});

test("runs without a value come last in both directions", () => {
  const ids = (key: string, descending: boolean) =>
    sorted(runs, key, descending).map((one) => one.id);
  assert.deepEqual(ids("result:loss", false), ["b", "a", "c"]);
  assert.deepEqual(ids("result:loss", true), ["a", "b", "c"]);
  assert.deepEqual(ids("parameter:lr", false), ["b", "a", "c"]);
});

test("every word of the filter must be found", () => {
  assert.deepEqual(
    filtered(runs, "lr=0.01 TRAIN").map((one) => one.id),
    ["b"],
  );
  assert.equal(filtered(runs, "failed loss").length, 0);
  assert.equal(filtered(runs, "  "), runs);
});

test("axes are columns with numbers", () => {
  assert.deepEqual(
    numeric(columns, runs).map((column) => column.name),
    ["lr", "seed", "loss"],
  );
});

test("names of others never reach into objects", () => {
  const values = valuesOf({ labels: { __proto__: "x" } as never, args: "--constructor 1" });
  assert.equal(values.get("parameter:constructor"), 1);
});

test("numbers are shown with six digits", () => {
  assert.deepEqual([1 / 3, 12, "x", undefined, 1e-9].map(shown), ["0.333333", "12", "x", "", "1e-9"]);
});

test("a scale has round ticks inside of its values", () => {
  const scale = scaleOf([0, 10, 7]);
  assert.deepEqual(
    scale.ticks.map((tick) => tick.text),
    ["0", "2", "4", "6", "8", "10"],
  );
  assert.equal(scale.place(5), 0.5);
  assert.equal(scale.place("x"), undefined);
});

test("a scale of powers leaves out what has no logarithm", () => {
  const scale = scaleOf([0.001, 0.1, 0, -1], true);
  assert.equal(scale.place(0), undefined);
  assert.equal(scale.place(0.01), 0.5);
  assert.deepEqual(
    scale.ticks.map((tick) => tick.text),
    ["0.001", "0.01", "0.1"],
  );
});

test("one value, no value, and names have scales too", () => {
  assert.equal(scaleOf([3]).place(3), 0.5);
  assert.equal(scaleOf([0.01], true).place(0.01), 0.5);
  assert.equal(scaleOf([]).place(1), undefined);
  const names = scaleOf(["b", "a", 1]);
  assert.deepEqual([1, "a", "b"].map(names.place), [0, 0.5, 1]);
});
