import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Live, NOW, type Change, type LiveState } from "../src/api/live_socket";
import { FakeWorld, task } from "./world";

let world: FakeWorld;
let batches: Change[][];
let states: LiveState["kind"][];
let resyncs: number;
/** Ends the readings that `slow` makes last. */
let finish: (isDone?: boolean) => void;
let isSlow: boolean;
let refusals: number;
let live: Live;

beforeEach(() => {
  world = new FakeWorld();
  batches = [];
  states = [];
  resyncs = refusals = 0;
  isSlow = false;
  finish = () => undefined;
  live = new Live(world, {
    changed: (changes) => batches.push(changes),
    resync() {
      resyncs++;
      return new Promise((resolve) => {
        finish = (isDone = true) => resolve(isDone);
        if (!isSlow) finish();
      });
    },
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

/** Let promises settle. */
const settled = () => new Promise(setImmediate);

test("a new connection asks for the server's number and then reads everything", () => {
  assert.equal(world.socket.query, `view=full&batch=1&since=${NOW}`);
  opened();
  assert.equal(resyncs, 1);
  assert.deepEqual(states.slice(-2), ["connecting", "live"]);
});

test("the batches before a frame are one change, with the newest state of each task", () => {
  opened();
  const one = task();
  const other = task();
  const gone = task();
  world.socket.receive({ type: "task_batch", seq: 103, tasks: [one, other] });
  world.socket.receive({
    type: "task_batch",
    seq: 107,
    tasks: [{ ...one, status: "completed" }],
    deleted: [gone],
  });
  assert.equal(batches.length, 0);
  world.pass(20);
  assert.deepEqual(
    batches.map((batch) => batch.map((change) => [change.task.id, change.task.status, change.deleted])),
    [
      [
        [other.id, "queued", false],
        [one.id, "completed", false],
        [gone.id, "queued", true],
      ],
    ],
  );
  world.pass(1000);
  assert.equal(batches.length, 1);
});

test("after a cut it continues after the last number and reads nothing again", async () => {
  opened();
  world.socket.receive({ type: "task_batch", seq: 107, tasks: [task({ status: "completed" })] });
  world.socket.onclose?.({ code: 1006 });
  await Promise.resolve();
  assert.equal(states.at(-1), "lost");
  world.pass(300);
  assert.equal(world.socket.query, "view=full&batch=1&since=107");
  world.socket.onopen?.();
  assert.equal(states.at(-1), "live");
  assert.equal(resyncs, 1);
});

test("waits get longer while the server is away, and hurry ends one", async () => {
  opened();
  for (let cut = 0; cut < 8; cut++) {
    world.socket.onclose?.({ code: 1006 });
    await settled();
    world.pass(11_000);
  }
  const connections = world.sockets.length;
  world.socket.onclose?.({ code: 1006 });
  await settled();
  world.pass(5_000);
  assert.equal(world.sockets.length, connections);
  live.hurry();
  assert.equal(world.sockets.length, connections + 1);
});

test("a resync drops what waited and reads everything again", async () => {
  opened();
  await settled();
  world.pass(3_000);
  world.socket.receive({ type: "task_batch", seq: 101, tasks: [task()] });
  world.socket.receive({ type: "resync", seq: 900 });
  world.pass(1000);
  assert.equal(batches.length, 0);
  assert.equal(resyncs, 2);
});

test("many resyncs are few readings, and the last of them is read", async () => {
  opened();
  await settled();
  for (let tick = 0; tick < 18; tick++) {
    world.socket.receive({ type: "resync", seq: 101 + 2 * tick });
    world.pass(200);
  }
  assert.equal(resyncs, 1);
  world.pass(400);
  assert.equal(resyncs, 2);
  await settled();
  world.pass(60_000);
  assert.equal(resyncs, 2);
});

test("a reading that lasts is followed by a longer calm", async () => {
  isSlow = true;
  opened();
  world.pass(500);
  world.socket.receive({ type: "resync", seq: 101 });
  assert.equal(resyncs, 1);
  finish();
  await settled();
  world.pass(9_900);
  assert.equal(resyncs, 1);
  world.pass(200);
  assert.equal(resyncs, 2);
});

test("a window without the focus reads less often, and at once when it gets the focus", async () => {
  opened();
  await settled();
  world.isFocused = false;
  world.socket.receive({ type: "resync", seq: 101 });
  world.pass(9_900);
  assert.equal(resyncs, 1);
  world.pass(200);
  assert.equal(resyncs, 2);
  await settled();
  world.socket.receive({ type: "resync", seq: 103 });
  world.pass(5_000);
  assert.equal(resyncs, 2);
  world.isFocused = true;
  live.focus();
  assert.equal(resyncs, 3);
  await settled();
  world.socket.receive({ type: "resync", seq: 105 });
  world.pass(1_000);
  live.focus();
  assert.equal(resyncs, 3);
  world.pass(3_000);
  assert.equal(resyncs, 4);
});

test("a reading that failed is tried again until it succeeds", async () => {
  isSlow = true;
  opened();
  for (let tries = 1; tries < 4; tries++) {
    assert.equal(resyncs, tries);
    finish(false);
    await settled();
    world.pass(3_900);
    assert.equal(resyncs, tries);
    world.pass(200);
  }
  finish();
  await settled();
  world.pass(60_000);
  assert.equal(resyncs, 4);
});

test("a reading that a sign-out ended holds up no later one", async () => {
  isSlow = true;
  opened();
  live.stop();
  live.start();
  opened();
  assert.equal(resyncs, 2);
});

test("a hidden tab draws nothing until it is seen, and keeps a bounded number of tasks", async () => {
  opened();
  await settled();
  world.pass(3_000);
  world.isHidden = true;
  const last = task({ status: "completed" });
  world.socket.receive({ type: "task_batch", seq: 101, tasks: [task(), last] });
  world.pass(5_000);
  assert.equal(batches.length, 0);
  world.show();
  world.pass(20);
  assert.deepEqual(batches.map((batch) => batch.length), [2]);
  world.isHidden = true;
  for (let tick = 0; tick < 11; tick++) {
    const tasks = Array.from({ length: 100 }, () => task());
    world.socket.receive({ type: "task_batch", seq: 103 + 2 * tick, tasks });
  }
  assert.equal(resyncs, 2);
  world.show();
  world.pass(20);
  assert.equal(batches.length, 1);
});

test("many changes are drawn twice a second, few ones with the next frame", async () => {
  opened();
  await settled();
  const many = () => Array.from({ length: 30 }, () => task());
  for (let tick = 0; tick < 8; tick++) {
    world.socket.receive({ type: "task_batch", seq: 101 + 2 * tick, tasks: many() });
    world.pass(250);
  }
  assert.deepEqual(batches.map((batch) => batch.length), [30, 60, 60, 60]);
  world.pass(1_000);
  world.socket.receive({ type: "task_batch", seq: 131, tasks: [task()] });
  world.pass(20);
  world.socket.receive({ type: "task_batch", seq: 133, tasks: [task()] });
  world.pass(20);
  assert.deepEqual(batches.slice(5).map((batch) => batch.length), [1, 1]);
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
  await settled();
  assert.equal(refusals, 1);
  world.pass(60_000);
  assert.equal(world.sockets.length, 1);
});

test("nothing arrives after stop", () => {
  opened();
  const { socket } = world;
  live.stop();
  socket.receive({ type: "task_batch", seq: 101, tasks: [task()] });
  world.pass(60_000);
  assert.equal(batches.length, 0);
  assert.equal(world.sockets.length, 1);
});

test("a hidden tab lets its connection go, and continues where it was", () => {
  opened(100);
  world.socket.receive({ type: "task_batch", seq: 105, tasks: [task()] });
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
  assert.equal(world.socket.query, "view=full&batch=1&since=105");
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
