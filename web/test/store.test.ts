import assert from "node:assert/strict";
import { test } from "node:test";
import type { Task } from "../src/api/model";
import { Store } from "../src/state/store";
import { FakeWorld, task } from "./world";

/** Let promises settle. */
const settled = () => new Promise(setImmediate);

/** A signed-in store whose lists of tasks are answered by `answers`, in the order of the requests. */
async function signedIn(world: FakeWorld): Promise<{ store: Store; answers: ((tasks: Task[]) => void)[] }> {
  const answers: ((tasks: Task[]) => void)[] = [];
  globalThis.fetch = (input) => {
    const url = new URL(String(input), "http://host");
    if (url.pathname === "/ui/session")
      return Promise.resolve(
        Response.json({ user: "ada", role: "user", private: true, mode: "memory", token: "a" }),
      );
    return new Promise((resolve) =>
      answers.push((tasks) => resolve(Response.json({ tasks, total: tasks.length }))),
    );
  };
  const store = new Store(world);
  await store.signIn({ key: "a" });
  world.socket.onopen?.();
  return { store, answers };
}

test("an end that arrives while the lists are read is not undone by their older replies", async () => {
  const world = new FakeWorld();
  const { store, answers } = await signedIn(world);
  world.socket.receive({ type: "resync", seq: 101 });
  store.useCurrent();
  const running = task({ status: "running" });
  const failed = { ...running, status: "failed" as const, failure_reason: "EXIT_CODE" as const };
  world.socket.receive({ type: "task_batch", seq: 103, tasks: [failed] });
  world.pass(20);
  assert.equal(answers.length, 2);
  answers[0]?.([running, task({ status: "running" })]);
  answers[1]?.([]);
  await settled();
  await settled();
  assert.equal(store.current.loaded.value, true);
  assert.deepEqual(store.current.running.value.map((one) => one.status), ["running"]);
  assert.deepEqual(store.current.ended.value.map((one) => one.id), [running.id]);
});

test("views without the current tasks read none of them", async () => {
  const world = new FakeWorld();
  const { store, answers } = await signedIn(world);
  world.socket.receive({ type: "resync", seq: 101 });
  await settled();
  assert.equal(answers.length, 0);
  const leave = [store.useCurrent(), store.useCurrent()];
  assert.equal(answers.length, 2);
  leave[0]?.();
  store.apply([{ task: task({ status: "running" }), deleted: false }]);
  assert.equal(store.current.running.value.length, 1);
  leave[1]?.();
  store.apply([{ task: task({ status: "running" }), deleted: false }]);
  assert.equal(store.current.running.value.length, 1);
});

test("the last of two overlapping readings of the current tasks counts", async () => {
  const world = new FakeWorld();
  const { store, answers } = await signedIn(world);
  store.useCurrent();
  world.socket.receive({ type: "resync", seq: 101 });
  assert.equal(answers.length, 4);
  const late = task({ status: "running" });
  store.apply([{ task: late, deleted: false }]);
  const tasks = [task({ status: "running" })];
  answers[2]?.(tasks);
  answers[3]?.([]);
  await settled();
  await settled();
  answers[0]?.([]);
  answers[1]?.([]);
  await settled();
  await settled();
  const ids = store.current.running.value.map((one) => one.id);
  assert.deepEqual(ids, [late.id, tasks[0]?.id]);
});
