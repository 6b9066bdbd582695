import assert from "node:assert/strict";
import { test } from "node:test";
import { Http } from "../src/api/http";
import type { Task } from "../src/api/model";
import { fromQuery } from "../src/filters";
import { TaskList } from "../src/state/task_list";
import { task } from "./world";

/** A server with these tasks, newest first, in pages of `size`. */
function server(tasks: Task[], size: number): { http: Http; queries: URLSearchParams[] } {
  const queries: URLSearchParams[] = [];
  globalThis.fetch = (input) => {
    const query = new URL(String(input), "http://host").searchParams;
    queries.push(query);
    const from = Number(query.get("page_token") ?? 0);
    const page = tasks.slice(from, from + size);
    const next = from + size < tasks.length ? { next_page_token: String(from + size) } : {};
    return Promise.resolve(Response.json({ tasks: page, total: tasks.length, ...next }));
  };
  return { http: new Http(), queries };
}

const filter = (query = "") => fromQuery(new URLSearchParams(query), undefined);
const made = (number: number) => Array.from({ length: number }, () => task()).reverse();
const ids = (list: TaskList) => list.rows.value.map((row) => row.id);

test("pages follow each other by cursor to the end", async () => {
  const tasks = made(5);
  const { http } = server(tasks, 2);
  const list = new TaskList(http, filter());
  await list.load();
  assert.equal(list.total.value, 5);
  await list.more();
  await list.more();
  assert.equal(list.hasMore, false);
  await list.more();
  assert.deepEqual(
    ids(list),
    tasks.map((one) => one.id),
  );
});

test("a new task goes first, a change keeps its place, a deleted task leaves", async () => {
  const [second, first] = [task(), task()];
  const { http } = server([first, second], 10);
  const list = new TaskList(http, filter());
  await list.load();
  const third = task();
  list.changed([
    { task: third, deleted: false },
    { task: { ...second, status: "running" }, deleted: false },
    { task: first, deleted: true },
  ]);
  assert.deepEqual(ids(list), [third.id, second.id]);
  assert.equal(list.rows.value[1]?.status, "running");
  assert.equal(list.total.value, 2);
});

test("a task that no longer matches leaves, and others' never come", async () => {
  const waiting = task();
  const { http } = server([waiting], 10);
  const list = new TaskList(http, filter("status=queued&user=ada"));
  await list.load();
  list.changed([
    { task: task({ user_id: "eve" }), deleted: false },
    { task: { ...waiting, status: "running" }, deleted: false },
  ]);
  assert.deepEqual(ids(list), []);
  assert.equal(list.total.value, 0);
});

test("a changed task of a page that was not read is neither shown nor counted again", async () => {
  const tasks = made(4);
  const { http } = server(tasks, 2);
  const list = new TaskList(http, filter());
  await list.load();
  const rows = ids(list);
  list.changed([{ task: { ...(tasks[3] as Task), status: "running" }, deleted: false }]);
  assert.deepEqual(ids(list), rows);
  assert.equal(list.total.value, 4);
});

test("a task of a sweep that was submitted again gives its row to the new one", async () => {
  const old = task({ sweep_id: "s", sweep_index: 0, status: "failed" });
  const { http } = server([old], 10);
  const list = new TaskList(http, filter("sweep=s"));
  await list.load();
  const again = task({ sweep_id: "s", sweep_index: 0 });
  list.changed([
    { task: again, deleted: false },
    { task: old, deleted: false },
  ]);
  assert.deepEqual(ids(list), [again.id]);
  assert.equal(list.total.value, 1);
});

test("an ended task never looks live again", async () => {
  const ended = task({ status: "completed" });
  const { http } = server([ended], 10);
  const list = new TaskList(http, filter());
  await list.load();
  list.changed([{ task: { ...ended, status: "running" }, deleted: false }]);
  assert.equal(list.rows.value[0]?.status, "completed");
});

test("changes that arrive while the first page is read are applied after it", async () => {
  const { http } = server(made(1), 10);
  const list = new TaskList(http, filter());
  const reading = list.load();
  const newest = task();
  list.changed([{ task: newest, deleted: false }]);
  await reading;
  assert.equal(ids(list)[0], newest.id);
});

test("rows that did not change keep their identity", async () => {
  const tasks = made(3);
  const { http } = server(tasks, 10);
  const list = new TaskList(http, filter());
  await list.load();
  const before = list.rows.value;
  list.changed([{ task: { ...(before[1] as Task), status: "running" }, deleted: false }]);
  assert.equal(list.rows.value[0], before[0]);
  assert.notEqual(list.rows.value[1], before[1]);
});

test("a batch of changes finds its rows among a hundred thousand", async () => {
  const tasks = made(100_000);
  const { http } = server(tasks, 100_000);
  const list = new TaskList(http, filter());
  await list.load();
  const changes = tasks
    .filter((_, index) => index % 1000 === 0)
    .map((one) => ({ task: { ...one, priority: 9 }, deleted: false }));
  list.changed(changes);
  assert.equal(list.rows.value[2000]?.priority, 9);
});

test("a resync reads again down to what is on the screen, and no further", async () => {
  const tasks = made(9);
  const { http, queries } = server(tasks, 2);
  const list = new TaskList(http, filter());
  await list.load();
  for (let page = 0; page < 3; page++) await list.more();
  queries.length = 0;
  await list.resync();
  assert.equal(queries.length, 1);
  assert.equal(list.rows.value.length, 2);

  for (let page = 0; page < 3; page++) await list.more();
  list.lastSeen = tasks[4];
  const newest = task();
  tasks.unshift(newest);
  queries.length = 0;
  await list.resync();
  assert.equal(queries.length, 3);
  assert.deepEqual(ids(list), tasks.slice(0, 6).map((one) => one.id));
  await list.more();
  assert.equal(new Set(ids(list)).size, 8);
});

test("a list that could not be read again keeps its rows and takes the changes", async () => {
  const tasks = made(2);
  const list = new TaskList(server(tasks, 10).http, filter());
  await list.load();
  const [newest] = tasks;
  const running = { ...(newest as Task), status: "running" as const };
  for (const [status, isDone] of [
    [503, false],
    [400, true],
  ] as const) {
    globalThis.fetch = () => Promise.resolve(Response.json({}, { status }));
    const reading = list.resync();
    list.changed([{ task: running, deleted: false }]);
    assert.equal(await reading, isDone);
    assert.equal(list.rows.value[0]?.status, "running");
  }
  const later = task();
  list.changed([{ task: later, deleted: false }]);
  assert.deepEqual(ids(list), [later.id, ...tasks.map((one) => one.id)]);
});
