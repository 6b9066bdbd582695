import assert from "node:assert/strict";
import { test } from "node:test";
import {
  buildSweep,
  EMPTY_SWEEP,
  isSweep,
  sweepCommand,
  sweepViolations,
  type SweepForm,
} from "../src/state/sweep_form";
import { FIELDS } from "../src/state/task_form";

const task = { job_name: "train", command: ["echo", "{lr}"] };
const built = (form: Partial<SweepForm>) => buildSweep({ ...EMPTY_SWEEP, ...form }, task);

test("a form without parameters is one task", () => {
  assert.equal(isSweep({ ...EMPTY_SWEEP, mode: "random", parameters: " \n" }), false);
  assert.equal(isSweep({ ...EMPTY_SWEEP, parameters: "lr=1" }), true);
  assert.equal(isSweep({ ...EMPTY_SWEEP, table: "lr" }), true);
});

test("parameters are lists, ranges, draws and lists in JSON, as on the command line", () => {
  const parameters = [
    "lr=0.1,0.2",
    " seed = 1..5 ",
    "step=0..1..0.25",
    "x=uniform(0, 1)",
    "y=log_uniform(1e-4,1)",
    'name=["a,b", "c"]',
    "eq=a=b",
  ].join("\n");
  const { request, faults } = built({ parameters, mode: "random", samples: "3", sweep_name: " n " });
  assert.deepEqual([...faults], []);
  assert.deepEqual(request, {
    name: "n",
    task,
    mode: "random",
    samples: 3,
    parameters: {
      lr: { values: ["0.1", "0.2"] },
      seed: { range: [1, 5] },
      step: { range: [0, 1, 0.25] },
      x: { uniform: [0, 1] },
      y: { log_uniform: [0.0001, 1] },
      name: { values: ["a,b", "c"] },
      eq: { values: ["a=b"] },
    },
  });
});

test("a line that is no parameter is named", () => {
  assert.match(built({ parameters: "lr" }).faults.get("parameters") ?? "", /^lr must be NAME=VALUES/);
  assert.match(built({ parameters: "=1" }).faults.get("parameters") ?? "", /NAME=VALUES/);
  assert.match(built({ parameters: "lr=[1" }).faults.get("parameters") ?? "", /JSON/);
  for (const draw of ["unifrm(0,1)", "uniform(0,b)"])
    assert.match(built({ parameters: `x=${draw}` }).faults.get("parameters") ?? "", /is not a draw/);
  const { request } = built({ parameters: "x=f(1),g(2)" });
  assert.deepEqual(request.parameters.x, { values: ["f(1)", "g(2)"] });
});

test("a table is a task for each line", () => {
  const { request, faults } = built({ table: 'lr, name\n0.1,"a,b"\n0.2,c\n' });
  assert.deepEqual([...faults], []);
  assert.equal(request.mode, "zip");
  assert.deepEqual(request.parameters, {
    lr: { values: ["0.1", "0.2"] },
    name: { values: ["a,b", "c"] },
  });
  assert.match(built({ table: "lr" }).faults.get("table") ?? "", /line for each task/);
  assert.match(built({ table: "a,b\n1" }).faults.get("table") ?? "", /row 1 must have 2/);
  assert.match(built({ table: "a,a\n1,2" }).faults.get("table") ?? "", /only once/);
  const rows = Array.from({ length: 10_000 }, (_, number) => number);
  assert.equal(built({ table: `n\n${rows.join("\n")}` }).request.parameters.n?.values?.length, 10_000);
});

test("no parameter is lost: not a name twice, nor one that every object has", () => {
  const twice = built({ parameters: "lr=1\nlr=2" });
  assert.match(twice.faults.get("parameters") ?? "", /^lr must have one line only/);
  const both = built({ parameters: "lr=1", table: "lr\n2" });
  assert.match(both.faults.get("table") ?? "", /^lr must be a line or a column/);
  for (const form of [{ parameters: "__proto__=1" }, { table: "__proto__\n1" }])
    assert.match(JSON.stringify(built(form).request), /"parameters":{"__proto__":{"values":\["1"\]}}/);
});

test("errors of the server go to their fields, those of the task too", () => {
  const { request } = built({ parameters: "lr=1" });
  const text =
    "task.job_name: is required; parameters.lr: has no values; samples: is missing; name: too long";
  assert.deepEqual(
    [...sweepViolations(text, request, FIELDS)],
    [
      ["job_name", "is required"],
      ["parameters", "lr: has no values"],
      ["samples", "is missing"],
      ["sweep_name", "too long"],
    ],
  );
});

test("the command of a terminal creates the same, except of a table", () => {
  const form = { ...EMPTY_SWEEP, parameters: "lr=0.1,0.2\nx=uniform(0,1)", max_parallel: "2" };
  const { request } = buildSweep(form, task);
  assert.equal(
    sweepCommand(form, request),
    "fetchml sweep create -p lr=0.1,0.2 -p 'x=uniform(0,1)' --max-parallel 2 --name train -- echo '{lr}'",
  );
  assert.equal(sweepCommand({ ...form, table: "a\n1" }, request), undefined);
});
