import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Resource } from "../src/state/resource";

/** A resource that counts its reads, each of which is answered at once. */
function counted(t: TestContext): { resource: Resource<number>; reads: () => number; pass: (ms: number) => Promise<void> } {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  let reads = 0;
  const resource = new Resource(() => Promise.resolve(++reads));
  const pass = async (ms: number) => {
    t.mock.timers.tick(ms);
    await Promise.resolve();
    await Promise.resolve();
  };
  return { resource, reads: () => reads, pass };
}

test("a change is read within a second, and many changes every four", async (t) => {
  const { resource, reads, pass } = counted(t);
  resource.use();
  await pass(0);
  assert.equal(reads(), 1);
  resource.touch();
  await pass(990);
  assert.equal(reads(), 1);
  await pass(20);
  assert.equal(reads(), 2);
  resource.touch(true);
  await pass(3_900);
  assert.equal(reads(), 2);
  await pass(200);
  assert.equal(reads(), 3);
});

test("what nobody looks at is not read again", async (t) => {
  const { resource, reads, pass } = counted(t);
  const leave = resource.use();
  await pass(0);
  leave();
  resource.touch();
  await pass(60_000);
  assert.equal(reads(), 1);
});
