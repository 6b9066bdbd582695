import assert from "node:assert/strict";
import { test } from "node:test";
import { holders, type Hold } from "../src/views/gpus/history";

const HOUR = 3_600_000;

test("without a cursor a GPU is held by the task that holds it at the end", () => {
  const span = { since: 0, until: 10 * HOUR };
  const ended: Hold = { taskId: "ended", user: "ada", since: 8 * HOUR, until: 9.9 * HOUR };
  const begun: Hold = { taskId: "begun", user: "bob", since: 9.95 * HOUR, until: undefined };
  const ids = (at?: number) => holders([ended, begun], span, at).map((hold) => hold.taskId);
  assert.deepEqual(ids(), ["begun"]);
  assert.deepEqual(ids(9.5 * HOUR), ["ended"]);
  assert.deepEqual(ids(9.9 * HOUR), []);
  assert.deepEqual(ids(9.95 * HOUR), ["begun"]);
});
