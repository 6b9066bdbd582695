import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Http } from "../src/api/http";
import type { Task } from "../src/api/model";
import type { Sweep } from "../src/api/types";
import { fromQuery } from "../src/filters";
import { foldingOf, groupKeyOf, UNFOLDED } from "../src/folding";
import { GroupRecords } from "../src/state/group_records";
import { keyOf, Member, OpenGroups, Rest, single } from "../src/state/open_groups";
import { TaskList } from "../src/state/task_list";
import { task } from "./world";

/** A server that folds as the real one does, in pages of `size`. `tasks`: newest first. */
function server(tasks: Task[], size: number): { http: Http; queries: URLSearchParams[] } {
  const queries: URLSearchParams[] = [];
  globalThis.fetch = (input) => {
    const { pathname, searchParams: query } = new URL(String(input), "http://host");
    queries.push(query);
    const sweep = /^\/v1\/sweeps\/(.+)$/.exec(pathname)?.[1];
    if (sweep) return Promise.resolve(Response.json({ id: sweep, name: `named-${sweep}` }));
    const wanted = tasks.filter(
      (one) =>
        [null, one.sweep_id].includes(query.get("sweep_id")) &&
        [null, one.experiment_id].includes(query.get("experiment_id")),
    );
    const folding = {
      sweeps: query.get("fold_sweeps") === "true",
      experiments: query.get("fold_experiments") === "true",
    };
    const seen = new Set<string>();
    const rows = wanted.filter((one) => {
      const group = groupKeyOf(one, folding);
      const isNew = group === undefined || !seen.has(group);
      if (group !== undefined) seen.add(group);
      return isNew;
    });
    const from = Number(query.get("page_token") ?? 0);
    const next = from + size < rows.length ? { next_page_token: String(from + size) } : {};
    const page = rows.slice(from, from + size);
    return Promise.resolve(Response.json({ tasks: page, total: wanted.length, ...next }));
  };
  return { http: new Http(), queries };
}

const filter = (query = "") => fromQuery(new URLSearchParams(query), undefined);
const folding = (query = "") => foldingOf(filter(query), new URLSearchParams(query));
const sweeps = (http: Http) => new GroupRecords<Sweep>(http, "/v1/sweeps", (one) => one.sweep_id);
const of = (sweep_id: string) => task({ sweep_id });
const settled = () => new Promise((resolve) => setTimeout(resolve));

async function folded(tasks: Task[], size = 10) {
  const { http, queries } = server(tasks, size);
  const list = new TaskList(http, filter(), folding());
  const opened = new OpenGroups(http, list, filter(), folding(), () => () => undefined);
  await list.load();
  const keys = () => opened.rows.value.map((row) => keyOf(row, folding()));
  return { http, queries, list, opened, keys };
}

test("single tasks are looked for by status, label and text, so those lists are not folded", () => {
  for (const query of ["", "user=ada", "name=train", "after=2026-01-01"])
    assert.deepEqual(folding(query), { sweeps: true, experiments: true }, query);
  for (const query of ["experiment=e", "fold=sweeps"])
    assert.deepEqual(folding(query), { sweeps: true, experiments: false }, query);
  for (const query of ["status=failed", "label=a", "q=loss", "sweep=s"])
    assert.deepEqual(folding(query), UNFOLDED, query);
});

test("each task of a sweep has a key of its own in a list that is not folded", () => {
  const [one, other] = [of("s"), of("s")];
  assert.deepEqual(
    [one, other].map((row) => keyOf(row, UNFOLDED)),
    [one.id, other.id],
  );
});

test("an experiment with its sweeps is one row, which opens to all of its tasks", async () => {
  const inSweep = task({ experiment_id: "e", sweep_id: "s" });
  const plain = task({ experiment_id: "e" });
  const same = task({ sweep_id: "e" });
  const newest = task({ experiment_id: "e", sweep_id: "s" });
  const { opened, keys, list, queries } = await folded([newest, same, plain, inSweep]);
  assert.equal(queries[0]?.get("fold_experiments"), "true");
  assert.deepEqual(keys(), ["experiment e", "sweep e"]);
  assert.equal(list.total.value, 4);
  opened.toggle({ kind: "experiment", id: "e" });
  await settled();
  assert.equal(queries.at(-1)?.get("experiment_id"), "e");
  assert.deepEqual(keys(), ["experiment e", newest.id, plain.id, inSweep.id, "sweep e"]);
  const again = task({ experiment_id: "e" });
  list.changed([{ task: again, deleted: false }]);
  assert.equal(list.rows.value[0]?.id, again.id);
  assert.equal(keys()[0], "experiment e");
  assert.equal(list.rows.value.length, 2);
});

test("each sweep is one row, however many pages its tasks would be", async () => {
  const [old, a, b, other, young] = [task(), of("s"), of("s"), of("r"), task()];
  const { list, keys, queries } = await folded([young, other, b, a, old], 2);
  assert.equal(queries[0]?.get("fold_sweeps"), "true");
  while (list.hasMore) await list.more();
  assert.deepEqual(keys(), [young.id, "sweep r", "sweep s", old.id]);
  assert.equal(list.total.value, 5);
});

test("a task that was submitted again makes no second row of its sweep", async () => {
  const [superseded, again] = [of("s"), of("s")];
  const { http } = server([again, superseded], 10);
  const rows = globalThis.fetch;
  // The server counts it as a task without a sweep.
  globalThis.fetch = (input) => rows(String(input).replace("fold_sweeps=true", ""));
  const list = new TaskList(http, filter(), folding());
  await list.load();
  assert.deepEqual(
    list.rows.value.map((one) => one.id),
    [again.id],
  );
});

test("the newest task of a sweep takes over its row, older ones leave it alone", async () => {
  const [first, second, single] = [of("s"), of("s"), task()];
  const { list, keys } = await folded([single, second, first]);
  const before = list.rows.value;
  list.changed([{ task: { ...first, status: "running" }, deleted: false }]);
  assert.equal(list.rows.value, before);
  const again = of("s");
  list.changed([{ task: again, deleted: false }]);
  assert.deepEqual(keys(), ["sweep s", single.id]);
  assert.equal(list.rows.value[0]?.id, again.id);
  assert.equal(list.total.value, 4);
  list.changed([{ task: { ...again, status: "running" }, deleted: false }]);
  assert.equal(list.rows.value[0]?.status, "running");
});

test("a sweep whose newest task is deleted keeps its row", async () => {
  const [first, second] = [of("s"), of("s")];
  const tasks = [second, first];
  const { list, keys } = await folded(tasks);
  tasks.shift();
  list.changed([{ task: second, deleted: true }]);
  await settled();
  assert.deepEqual(keys(), ["sweep s"]);
  assert.equal(list.rows.value[0]?.id, first.id);
});

test("an open sweep is followed by its tasks, page by page, and closes again", async () => {
  const members = [of("s"), of("s"), of("s")].reverse();
  const [above, below] = [task(), task()];
  const { opened, keys, list } = await folded([above, ...members, below], 2);
  opened.toggle({ kind: "sweep", id: "s" });
  assert.deepEqual(keys(), [above.id, "sweep s", "rest sweep s"]);
  await settled();
  const rest = opened.rows.value.at(-1);
  assert.ok(rest instanceof Rest);
  await rest.list.more();
  await list.more();
  assert.deepEqual(keys(), [above.id, "sweep s", ...members.map((one) => one.id), below.id]);
  assert.deepEqual(
    single(opened.rows.value, folding()).map((one) => one.id),
    [above, ...members, below].map((one) => one.id),
  );
  const row = opened.rows.value[2];
  assert.ok(row instanceof Member);
  assert.equal(opened.indexOf(row, opened.rows.value), 2);
  opened.look(list, row);
  assert.equal(rest.list.lastSeen, row.task);
  opened.toggle({ kind: "sweep", id: "s" });
  assert.deepEqual(keys(), [above.id, "sweep s", below.id]);
});

test("a hundred thousand tasks of ten sweeps are ten rows, and changes find them", async () => {
  const tasks = Array.from({ length: 100_000 }, (_, index) => of(`s${index % 10}`)).reverse();
  const { list, keys } = await folded(tasks, 100);
  assert.equal(keys().length, 10);
  list.changed(tasks.map((one) => ({ task: { ...one, priority: 9 }, deleted: false })));
  assert.deepEqual(new Set(list.rows.value.map((one) => one.priority)), new Set([9]));
});

test("the numbers of a sweep are read while it is shown, and again when a task of it changes", async () => {
  const { http, queries } = server([], 1);
  const records = sweeps(http);
  const leave = records.show("s");
  await settled();
  assert.equal(records.byId.value.get("s")?.name, "named-s");
  records.changed([{ task: of("other"), deleted: false }]);
  await settled();
  assert.equal(queries.length, 1);
  leave();
  records.changed([{ task: of("s"), deleted: false }]);
  assert.equal(records.byId.value.has("s"), false);
});

test("a sweep is read again a second later, even if the clock was set back meanwhile", async () => {
  const { http, queries } = server([], 10);
  const records = sweeps(http);
  records.show("s");
  await settled();
  mock.timers.enable({ apis: ["setTimeout"] });
  records.changed([{ task: of("s"), deleted: false }]);
  assert.equal(queries.length, 1);
  const anHourAgo = Date.now() - 3_600_000;
  const clock = mock.method(Date, "now", () => anHourAgo);
  mock.timers.tick(1_000);
  clock.mock.restore();
  mock.timers.reset();
  await settled();
  assert.equal(queries.length, 2);
});
