import assert from "node:assert/strict";
import { test } from "node:test";
import { Slots } from "../src/state/slots";

test("rows that stay keep their element", () => {
  const slots = new Slots();
  assert.deepEqual(slots.assign(["a", "b", "c"], undefined), [0, 1, 2]);
  assert.deepEqual(slots.assign(["b", "c", "d"], undefined), [1, 2, 0]);
  assert.deepEqual(slots.assign(["x", "b", "c"], undefined), [0, 1, 2]);
});

test("rows that are all new take over the elements in their order", () => {
  const slots = new Slots();
  slots.assign(["a", "b", "c"], undefined);
  assert.deepEqual(slots.assign(["d", "e", "f", "g"], undefined), [0, 1, 2, 3]);
});

test("the element that a person uses is never another row's", () => {
  const slots = new Slots();
  slots.assign(["a", "b"], undefined);
  assert.deepEqual(slots.assign(["c", "d"], "a"), [1, 2]);
  assert.deepEqual(slots.assign(["e"], undefined), [1]);
});

test("fewer rows leave elements over, which are made again", () => {
  const slots = new Slots();
  slots.assign(["a", "b", "c"], undefined);
  assert.deepEqual(slots.assign(["c"], undefined), [2]);
  assert.deepEqual(slots.assign(["c", "d"], undefined), [2, 3]);
});
