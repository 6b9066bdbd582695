import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Live, NOW, type Change, type LiveState } from "../src/api/live";
import { FakeWorld, task } from "./world";

let world: FakeWorld;
let batches: Change[][];
let states: LiveState["kind"][];
let resyncs: number;
let refusals: number;
let live: Live;

beforeEach(() => {
  world = new FakeWorld();
  batches = [];
  states = [];
  resyncs = refusals = 0;
  live = new Live(world, {
    changed: (changes) => batches.push(changes),
    resync: () => resyncs++,
    state: (state) => states.push(state.kind),
    refused: () => refusals++,
  });
  live.start();
});

/** Open the connection, and let the server answer with its current number. */
function opened(seq = 100): void {
  world.socket.onopen?.();
  world.socket.receive({ type: "resync", seq });
}

test("a new connection asks for the server's number and then reads everything", () => {
  assert.equal(world.socket.query, `view=full&since=${NOW}`);
  opened();
  assert.equal(resyncs, 1);
  assert.deepEqual(states.slice(-2), ["connecting", "live"]);
});

test("changes arrive in batches with the newest state of each task", () => {
  opened();
  const one = task();
  const other = task();
  world.socket.receive({ type: "task_update", seq: 101, task: one });
  world.socket.receive({ type: "task_update", seq: 103, task: other });
  world.socket.receive({ type: "task_update", seq: 105, task: { ...one, status: "running" } });
  assert.equal(batches.length, 0);
  world.pass(1000);
  assert.deepEqual(
    batches.map((batch) => batch.map((change) => change.task.status)),
    [["queued", "running"]],
  );
});

test("after a cut it continues after the last number and reads nothing again", async () => {
  opened();
  world.socket.receive({ type: "task_complete", seq: 106, task: task({ status: "completed" }) });
  world.socket.onclose?.({ code: 1006 });
  await Promise.resolve();
  assert.equal(states.at(-1), "lost");
  world.pass(300);
  assert.equal(world.socket.query, "view=full&since=106");
  world.socket.onopen?.();
  assert.equal(states.at(-1), "live");
  assert.equal(resyncs, 1);
});

test("waits get longer while the server is away, and hurry ends one", async () => {
  opened();
  for (let cut = 0; cut < 8; cut++) {
    world.socket.onclose?.({ code: 1006 });
    await new Promise(setImmediate);
    world.pass(11_000);
  }
  const connections = world.sockets.length;
  world.socket.onclose?.({ code: 1006 });
  await new Promise(setImmediate);
  world.pass(5_000);
  assert.equal(world.sockets.length, connections);
  live.hurry();
  assert.equal(world.sockets.length, connections + 1);
});

test("a resync drops what waited and reads everything again", () => {
  opened();
  world.socket.receive({ type: "task_update", seq: 101, task: task() });
  world.socket.receive({ type: "resync", seq: 900 });
  world.pass(1000);
  assert.equal(batches.length, 0);
  assert.equal(resyncs, 2);
});

test("pings are answered, and silence is a lost connection", () => {
  opened();
  world.socket.receive({ type: "ping" });
  assert.deepEqual(world.socket.sent, ['{"type":"pong"}']);
  world.pass(49_000);
  assert.equal(states.at(-1), "live");
  world.pass(2_000);
  assert.equal(states.at(-1), "lost");
});

test("a revoked key ends the session", async () => {
  opened();
  world.isSignedIn = false;
  world.socket.onclose?.({ code: 1008 });
  await new Promise(setImmediate);
  assert.equal(refusals, 1);
  world.pass(60_000);
  assert.equal(world.sockets.length, 1);
});

test("nothing arrives after stop", () => {
  opened();
  const { socket } = world;
  live.stop();
  socket.receive({ type: "task_update", seq: 101, task: task() });
  world.pass(60_000);
  assert.equal(batches.length, 0);
  assert.equal(world.sockets.length, 1);
});

test("a hidden tab lets its connection go, and continues where it was", () => {
  opened(100);
  world.socket.receive({ type: "task_update", seq: 105, task: task() });
  live.rest();
  world.pass(20_000);
  live.hurry();
  world.pass(20_000);
  assert.equal(world.sockets.length, 1);
  live.rest();
  live.rest();
  world.socket.receive({ type: "ping" });
  world.pass(31_000);
  assert.ok(world.sockets[0]?.isClosed);
  world.pass(600_000);
  assert.equal(world.sockets.length, 1);
  live.hurry();
  assert.equal(world.sockets.length, 2);
  assert.equal(world.socket.query, "view=full&since=105");
  assert.deepEqual(states.slice(-2), ["live", "connecting"]);
});

test("a hidden tab that is signed out stays so", () => {
  opened();
  live.rest();
  live.stop();
  world.pass(60_000);
  live.hurry();
  assert.equal(world.sockets.length, 1);
});
