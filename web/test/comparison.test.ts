import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, extremes, metricsIn } from "../src/state/comparison";
import { task } from "./world";

test("tasks differ in results, parameters, labels and request", () => {
  const one = task({ args: "--lr 0.1 --seed 1", image: "a", metadata: { team: "x" } });
  const other = task({ args: "--lr 0.2 --seed 1", image: "a" });
  const rows = compare([
    { task: one, metrics: { loss: 1 } },
    { task: other, metrics: {} },
  ]);
  const differing = rows.filter((row) => !row.isEqual).map((row) => `${row.group}: ${row.name}`);
  assert.deepEqual(differing, [
    "Results: loss",
    "Parameters: lr",
    "Labels: team",
    "Request: args",
  ]);
  assert.deepEqual(rows.find((row) => row.name === "loss")?.values, [1, undefined]);
  assert.ok(rows.find((row) => row.name === "image")?.isEqual);
});

test("tasks differ in their packages and in what else they were given", () => {
  const one = task({
    environment: { requirements: "requirements.txt" },
    volumes: ["data:ro"],
    secrets: [{ name: "TOKEN" }],
    inputs_from: ["a"],
    checkpoint_from: "b",
  });
  const rows = compare([one, task({})].map((each) => ({ task: each, metrics: {} })));
  assert.deepEqual(
    rows.filter((row) => !row.isEqual).map((row) => row.name),
    ["packages", "volumes", "secrets", "inputs from", "checkpoint from"],
  );
});

test("the lowest and the highest are marked only where numbers differ", () => {
  assert.deepEqual(extremes([1, 2, "x", undefined]), { low: 1, high: 2 });
  assert.deepEqual(extremes([1, 1]), {});
  assert.deepEqual(extremes([]), {});
});

test("only numbers of a flat object are metrics", () => {
  assert.deepEqual(metricsIn('{"a": 1, "b": "2", "c": {"d": 3}, "e": true, "f": 1e999}'), { a: 1 });
  for (const text of ["", "[1]", "null", "7", "{", " ".repeat(70_000)])
    assert.deepEqual(metricsIn(text), {});
});
