import assert from "node:assert/strict";
import { test } from "node:test";
import { curve, place, sampleAt } from "../src/state/curve";

const span = { since: 1000, until: 2000 };

test("a time lies in the span, and outside of it at its ends", () => {
  assert.deepEqual([0, 1000, 1500, 2000, 9000].map((at) => place(at, span)), [0, 0, 500, 1000, 1000]);
});

test("a curve has a step for each sample and a gap where there is none", () => {
  const samples = [
    { at: 1000, value: 0 },
    { at: 1100, value: 50 },
    { at: 1200, value: undefined },
    { at: 1300, value: 200 },
  ];
  const { line, area } = curve(samples, 100, span, 100, 10);
  assert.equal(line, "M0,10L100,10L100,5L200,5M300,0L400,0");
  assert.equal(area, "M0,10L0,10L100,10L100,5L200,5L200,10ZM300,10L300,0L400,0L400,10Z");
});

test("no samples, and values that are no numbers, are no curve", () => {
  assert.deepEqual(curve([], 100, span, 100, 10), { line: "", area: "" });
  assert.equal(curve([{ at: 1000, value: Number.NaN }], 100, span, 100, 10).line, "");
});

test("the sample of a time is the one that covers it", () => {
  const samples = [{ at: 1000 }, { at: 1100 }, { at: 1500 }];
  const found = [999, 1000, 1099, 1100, 1240, 1400, 1600].map((at) => sampleAt(samples, 100, at)?.at);
  assert.deepEqual(found, [undefined, 1000, 1000, 1100, 1100, undefined, 1500]);
});
