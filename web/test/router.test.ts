import assert from "node:assert/strict";
import { test } from "node:test";
import { linkOfMlflow } from "../src/router";

test("links that MLflow's clients print lead to the views of runs and experiments", () => {
  assert.equal(linkOfMlflow("#/experiments/7/runs/0af3"), "/ui/runs/0af3");
  assert.equal(linkOfMlflow("#/experiments/7/runs/0af3/model-metrics"), "/ui/runs/0af3");
  assert.equal(linkOfMlflow("#/experiments/7?searchFilter=x"), "/ui/experiments/7");
  assert.equal(linkOfMlflow("#/experiments/..%2f/runs/a%2fb"), "/ui/runs/a%2Fb");
  for (const other of ["", "#code=abc", "#/models", "#/experiments/"]) assert.equal(linkOfMlflow(other), undefined);
});
