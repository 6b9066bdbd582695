import assert from "node:assert/strict";
import { test } from "node:test";
import type { Curve } from "../src/api/model";
import { alone, axisText, batches, grouped, smoothed, tableOf, type Look } from "../src/state/curves";
import { headline, latestText, numberText } from "../src/state/latest";

const look: Look = { axis: "step", smoothing: 0, isLog: false };

/** A curve of these values; a text stands for a value that is not a number. */
function curve(run: string, x: number[], values: (number | "NaN")[]): Curve {
  const numbers = values.map((value) => (value === "NaN" ? 0 : value));
  return {
    run_id: run,
    metric: "loss",
    whole: true,
    x,
    min: numbers,
    max: numbers,
    mean: numbers,
    last: numbers,
    count: values.map((value) => (value === "NaN" ? 0 : 1)),
    not_numbers: values.map((value) => (value === "NaN" ? 1 : 0)),
  };
}

test("metrics are grouped by what stands before their first slash, in the order of numbers", () => {
  assert.deepEqual(grouped(["val/loss", "layer10/w", "lr", "layer2/w", "val/a/b", "/odd", "toString/x"]), [
    { name: "", metrics: ["/odd", "lr"] },
    { name: "layer2", metrics: ["layer2/w"] },
    { name: "layer10", metrics: ["layer10/w"] },
    { name: "toString", metrics: ["toString/x"] },
    { name: "val", metrics: ["val/a/b", "val/loss"] },
  ]);
});

test("curves share their positions: a gap is null, a position of others undefined", () => {
  const { x, lines } = tableOf([curve("a", [1, 2, 4], [10, "NaN", 40]), curve("b", [2, 3], [2, 3])], look);
  assert.deepEqual(x, [1, 2, 3, 4]);
  assert.deepEqual(lines[0]?.mean, [10, null, undefined, 40]);
  assert.deepEqual(lines[1]?.mean, [undefined, 2, 3, undefined]);
  assert.deepEqual([...(lines[0]?.notNumbers ?? [])], [[1, 1]]);
});

test("a long pause is a gap on an axis of time, and none on one of steps", () => {
  const paused = curve("a", [0, 1, 2, 3, 100, 101], [1, 1, 1, 1, 2, 2]);
  assert.deepEqual(tableOf([paused], look).lines[0]?.mean, [1, 1, 1, 1, 2, 2]);
  const { x, lines } = tableOf([paused], { ...look, axis: "relative" });
  assert.deepEqual(lines[0]?.mean, [1, 1, 1, 1, null, 2, 2]);
  assert.equal(x[4], 51.5);
});

test("a logarithmic axis hides what is not above 0, and counts it", () => {
  const table = tableOf([curve("a", [1, 2, 3], [1, 0, -1])], { ...look, isLog: true });
  assert.deepEqual(table.lines[0]?.mean, [1, null, null]);
  assert.equal(table.hidden, 2);
});

test("smoothing follows the values from the first on, and keeps gaps", () => {
  assert.deepEqual(smoothed([4, 4, null, 4, undefined], 0.9).map((cell) => cell && Math.round(cell * 1e9) / 1e9), [
    4,
    4,
    null,
    4,
    undefined,
  ]);
  const [, second] = smoothed([0, 10], 0.5);
  assert.ok(Math.abs((second ?? 0) - 20 / 3) < 1e-9);
  const table = tableOf([curve("a", [1, 2], [0, 10])], { ...look, smoothing: 0.5 });
  assert.deepEqual(table.lines[0]?.mean, [0, 10]);
  assert.notEqual(table.lines[0]?.smooth[1], 10);
});

test("points that no line leads to are drawn as points", () => {
  assert.deepEqual(alone([1]), [0]);
  assert.deepEqual(alone([1, 2, null, 3, undefined, null, 4, undefined, 5]), [3]);
  assert.deepEqual(alone([undefined, null]), []);
});

test("no request asks for too many curves, or has too long an address", () => {
  const names = Array.from({ length: 200 }, (_, index) => `train/metric-${index}`);
  for (const runs of [1, 20]) {
    const found = batches(names, runs);
    assert.deepEqual(found.flat(), names);
    assert.ok(found.every((batch) => batch.length * runs <= 400 && batch.length <= 24));
  }
  const long = batches(Array.from({ length: 4 }, (_, index) => "é".repeat(249) + index), 1);
  assert.deepEqual(long.map((batch) => batch.length), [2, 2]);
});

test("numbers keep the digits that matter", () => {
  assert.deepEqual([0, 12, 0.1 + 0.2, 1 / 3, 1.5e-7, -2.5e9].map(numberText), ["0", "12", "0.3", "0.333333", "1.5e-7", "-2500000000"]);
  assert.deepEqual([0, 0.0001, 1_500_000, 12.25].map(axisText), ["0", "1e-4", "1.5e+6", "12.25"]);
});

test("the metrics of a validation say first how a training went; those of the host do not", () => {
  const point = (name: string, value?: number) => ({ name, step: 1, at: "", ...(value === undefined ? { not_a_number: "NaN" } : { value }) });
  const points = [point("epoch", 3), point("system/cpu", 1), point("train/loss", 0.5), point("val_loss"), point("valence", 1)];
  assert.deepEqual(headline(points).map(({ name }) => name), ["val_loss", "epoch", "train/loss"]);
  assert.equal(latestText(point("val_loss")), "NaN");
});
