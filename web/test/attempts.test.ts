import assert from "node:assert/strict";
import { test } from "node:test";
import type { Task } from "../src/api/model";
import { missing, outcome, ran, steps, tries } from "../src/state/attempts";
import { task } from "./world";

const at = (second: number) => new Date(1_700_000_000_000 + 1000 * second).toISOString();
const shown = (one: Task) => steps(one).map((step) => `${step.kind} ${step.place} ${step.at ?? "-"}`);

const RETRIED = {
  number: 1,
  cause: "retry" as const,
  begun_at: at(1),
  allocated_at: at(1),
  started_at: at(2),
  exited_at: at(62),
  worker_id: "box",
  failure_reason: "EXIT_CODE" as const,
  exit_code: 3,
  error: "exit code 3",
};

test("a running attempt has the times of its steps, from the end of the one before on", () => {
  const running = task({
    status: "running",
    attempt: 2,
    begun_at: at(70),
    allocated_at: at(80),
    started_at: at(81),
    earlier_attempts: [RETRIED],
  });
  assert.deepEqual(shown(running), [
    `queued past ${at(62)}`,
    `prestaged past ${at(70)}`,
    `preparing past ${at(80)}`,
    `running now ${at(81)}`,
    "collecting future -",
    "end future -",
  ]);
});

test("a prestaged task waits in that step, and one that gets its place at once has none", () => {
  const created = task({ created_at: at(0) });
  const ahead = { ...created, ahead: true, attempt: 1, begun_at: at(5) };
  assert.equal(shown(ahead)[1], `prestaged now ${at(5)}`);
  const atOnce = { ...created, status: "preparing" as const, begun_at: at(5), allocated_at: at(5) };
  assert.deepEqual(shown(atOnce).slice(0, 2), [`queued past ${at(0)}`, `preparing now ${at(5)}`]);
});

test("an ended task shows what it passed", () => {
  const whole = {
    status: "completed" as const,
    created_at: at(0),
    begun_at: at(1),
    allocated_at: at(1),
    started_at: at(2),
    exited_at: at(9),
    ended_at: at(9),
  };
  assert.deepEqual(shown(task(whole)), [
    `queued past ${at(0)}`,
    `preparing past ${at(1)}`,
    `running past ${at(2)}`,
    `collecting past ${at(9)}`,
    `end now ${at(9)}`,
  ]);
  const inQueue = task({ status: "failed", created_at: at(0), ended_at: at(3) });
  assert.deepEqual(shown(inQueue), [`queued past ${at(0)}`, `end now ${at(3)}`]);
  const notStarted = { ...whole, status: "failed" as const, started_at: undefined };
  const { started_at: _, ...failed } = notStarted;
  assert.deepEqual(
    steps(task(failed)).map((step) => step.place),
    ["past", "past", "future", "future", "now"],
  );
});

test("an attempt says how it ended and why the task was queued again", () => {
  assert.equal(outcome(RETRIED), "exit code 3; retried");
  assert.equal(ran(RETRIED), 60_000);
  const { error: _, started_at: __, exit_code: ___, ...never } = RETRIED;
  const discarded = { ...never, cause: "discarded" as const };
  assert.match(outcome(discarded), /^never started; queued again/);
  assert.equal(ran(discarded), undefined);
});

test("attempts that are not kept are named", () => {
  assert.equal(missing(task({ attempt: 2, earlier_attempts: [RETRIED] })), undefined);
  assert.deepEqual(missing(task({ attempt: 4, status: "running" })), { from: 1, to: 3 });
  assert.deepEqual(missing(task({ attempt: 4, status: "queued" })), { from: 1, to: 4 });
  const late = { ...RETRIED, number: 6 };
  assert.deepEqual(missing(task({ attempt: 7, earlier_attempts: [late] })), { from: 1, to: 5 });
});

test("a task that waits for its next attempt is in none", () => {
  const tried = { attempt: 2, retry_count: 2, max_retries: 3 };
  assert.deepEqual(tries(task({ ...tried, status: "queued" })), [
    "2 attempts so far",
    "2 of 3 retries used",
  ]);
  assert.deepEqual(tries(task({ ...tried, status: "running" })), ["Attempt 2", "2 of 3 retries used"]);
  assert.equal(tries(task({ ...tried, status: "queued", ahead: true }))[0], "Attempt 2");
  assert.deepEqual(tries(task({ status: "running", attempt: 1 })), []);
});
