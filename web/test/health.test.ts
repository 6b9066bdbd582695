import assert from "node:assert/strict";
import { test } from "node:test";
import { health, loadHealth } from "../src/health";

test("the state of the server is kept", async () => {
  globalThis.fetch = async () => Response.json({ status: "healthy" });
  await loadHealth();
  assert.equal(health.value?.status, "healthy");
});
