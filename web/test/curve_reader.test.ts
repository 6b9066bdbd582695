import assert from "node:assert/strict";
import { test } from "node:test";
import { Http } from "../src/api/http";
import { CurveReader } from "../src/state/curve_reader";

/** A reader of one run, and the metrics of each request that it sent. */
function reader() {
  const requests: string[][] = [];
  const http = new Http();
  http.get = (async (_path: string, { query }: { query: { metrics: string[] } }) => {
    requests.push(query.metrics);
    return { curves: query.metrics.map((metric) => ({ run_id: "a", metric })) };
  }) as Http["get"];
  const made = new CurveReader(http, { runs: ["a"], axis: "step", from: undefined, to: undefined, buckets: 500 });
  return { made, requests };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

test("what comes into view together is read together, and once", async () => {
  const { made, requests } = reader();
  const leave = ["a", "b", "c"].map((metric) => made.want(metric));
  leave[2]?.();
  await settled();
  assert.deepEqual(requests, [["a", "b"]]);
  assert.equal(made.curves("a").value?.length, 1);
  made.want("a");
  await settled();
  assert.equal(requests.length, 1);
});

test("new points are read for what is in view; the rest when it comes into view", async () => {
  const { made, requests } = reader();
  made.want("a");
  const leave = made.want("b");
  await settled();
  leave();
  made.refresh(["a", "b"]);
  await settled();
  assert.deepEqual(requests, [["a", "b"], ["a"]]);
  made.want("b");
  await settled();
  assert.deepEqual(requests.at(-1), ["b"]);
});
