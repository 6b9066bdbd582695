import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../src/api/http";
import { FormCheck } from "../src/state/form_check";
import { shellWords } from "../src/state/shell_words";
import { violations as read } from "../src/api/violations";
import { build, cliCommand, EMPTY_FORM, FIELDS, fromTask } from "../src/state/task_form";
import { duration } from "../src/state/time_text";
import { task } from "./world";

const violations = (text: string) => read(text, FIELDS);
const form = (fields: Partial<typeof EMPTY_FORM>) => build({ ...EMPTY_FORM, ...fields });

test("an empty form asks for the server's defaults", () => {
  assert.deepEqual(form({ job_name: "a" }), { request: { job_name: "a" }, faults: new Map() });
});

test("every field reaches the request in its type", () => {
  const { request, faults } = form({
    job_name: "vit",
    command: `sh -c 'echo "a b"'`,
    args: " --lr 0.1 ",
    datasets: "mnist, cifar  words",
    gpu: "2",
    timeout_seconds: "12h",
    env: "A=1\n\nB=x=y",
    metadata: "team=vision",
    preemptible: true,
  });
  assert.equal(faults.size, 0);
  assert.deepEqual(request, {
    job_name: "vit",
    command: ["sh", "-c", 'echo "a b"'],
    args: "--lr 0.1",
    datasets: ["mnist", "cifar", "words"],
    gpu: 2,
    timeout_seconds: 43_200,
    env: { A: "1", B: "x=y" },
    metadata: { team: "vision" },
    preemptible: true,
  });
});

test("start conditions, checkpoints and packages reach the request, and come back", () => {
  const fields = {
    job_name: "evaluate",
    after: "0190aa, 0190bb:ended",
    inputs_from: "0190aa",
    volumes: "scratch models",
    secrets: "HF_TOKEN SSH_KEY:file",
    environment_kind: "project" as const,
    environment: ".",
    checkpoint: true,
    checkpoint_from: "0190cc",
    warn_seconds: "2m",
    hold: true,
    notify: "https://a.example/hook\n failed,idle,https://b.example/hook ",
    slurm: "partition=gpu",
  };
  const { request, faults } = form(fields);
  assert.equal(faults.size, 0);
  assert.deepEqual(request, {
    job_name: "evaluate",
    after: ["0190aa", { task_id: "0190bb", condition: "ended" }],
    inputs_from: ["0190aa"],
    volumes: ["scratch", "models"],
    secrets: [{ name: "HF_TOKEN" }, { name: "SSH_KEY", as: "file" }],
    environment: { project: "." },
    checkpoint: true,
    checkpoint_from: "0190cc",
    warn_seconds: 120,
    hold: true,
    notify: [
      { url: "https://a.example/hook" },
      { url: "https://b.example/hook", on: ["failed", "idle"] },
    ],
    slurm: { partition: "gpu" },
  });
  const { hold: _, notify: __, ...copied } = request;
  const made = task({
    ...copied,
    after: [
      { task_id: "0190aa", condition: "completed" },
      { task_id: "0190bb", condition: "ended" },
    ],
  });
  assert.deepEqual(build(fromTask(made)).request, { ...copied, priority: 5 });
  assert.equal(
    cliCommand(request),
    "fetchml submit --name evaluate --volume scratch --volume models" +
      " --secret HF_TOKEN --secret SSH_KEY:file --environment uv.lock" +
      " --checkpoint --from-checkpoint 0190cc --warn-seconds 120 --after 0190aa" +
      " --after 0190bb:ended --inputs-from 0190aa --hold" +
      " --notify https://a.example/hook --notify failed,idle,https://b.example/hook" +
      " --slurm partition=gpu",
  );
});

test("a sweep stands before the start as on the command line", () => {
  const { request } = form({ job_name: "a", after: "sweep:0190aa, sweep:0190bb:ended 0190cc" });
  assert.deepEqual(request.after, [
    { sweep_id: "0190aa" },
    { sweep_id: "0190bb", condition: "ended" },
    "0190cc",
  ]);
  assert.equal(
    cliCommand(request),
    "fetchml submit --name a --after sweep:0190aa --after sweep:0190bb:ended --after 0190cc",
  );
  const shown = [
    { sweep_id: "0190aa", condition: "completed" as const },
    { task_id: "0190cc", sweep_id: "0190bb", same_index: true, condition: "failed" as const },
  ];
  assert.equal(fromTask(task({ after: shown })).after, "sweep:0190aa, 0190cc:failed");
});

test("a time is the browser's, and the server gets it with its zone", () => {
  const at = form({ start_after: "2026-12-01T20:00" }).request.start_after ?? "";
  assert.equal(new Date(at).getTime(), new Date("2026-12-01T20:00").getTime());
  assert.match(at, /Z$/);
});

test("what is no number goes to the server, which explains it", () => {
  assert.equal(form({ gpu: "many" }).request.gpu, "many");
});

test("what the page cannot read is a fault of its field", () => {
  const { faults } = form({ command: "a 'b", env: "A=1\nB", timeout_seconds: "soon" });
  assert.deepEqual([...faults.keys()].toSorted(), ["command", "env", "timeout_seconds"]);
  assert.equal(faults.get("env"), "line 2 must be NAME=value");
});

test("durations are seconds", () => {
  const texts = ["", "90", "90s", "30m", " 2 d ", "0"];
  assert.deepEqual(texts.map(duration), [undefined, 90, 90, 1800, 172_800, 0]);
  assert.ok(Number.isNaN(duration("1.5h")));
});

test("words are split as a shell splits them", () => {
  for (const [text, words] of [
    ["", []],
    ["  a\tb\n c ", ["a", "b", "c"]],
    [`'a b'"c d"e`, ["a bc de"]],
    [`"" ''`, ["", ""]],
    [`"a\\"b\\\\c\\d" \\'`, ['a"b\\c\\d', "'"]],
  ] as const)
    assert.deepEqual(shellWords(text), { words }, text);
  assert.ok("fault" in shellWords("a\\"));
  assert.ok("fault" in shellWords('"a'));
});

test("a duplicated task gives its own request again", () => {
  const copied = task({
    job_name: "vit",
    command: ["sh", "-c", "a && 'b'"],
    args: "--lr 0.1",
    image: "x:1",
    gpu: 1,
    timeout_seconds: 60,
    metadata: { k: "v" },
    dataset_specs: [{ name: "d", source: "https://example.org/d" }],
  });
  const { request } = build(fromTask(copied));
  assert.deepEqual(request.command, copied.command);
  assert.deepEqual(request.dataset_specs, copied.dataset_specs);
  assert.deepEqual(request.metadata, { k: "v" });
  assert.equal(request.timeout_seconds, 60);
});

test("a copy of a task gets no more than the task has, whatever its code asks for", () => {
  const copied = task({ snapshot_id: "0190aa", secrets: [{ name: "HF_TOKEN", as: "env" }] });
  const { request } = build(fromTask(copied));
  assert.deepEqual(request.secrets, [{ name: "HF_TOKEN" }]);
  assert.deepEqual(request.without, ["volumes", "notify"]);
  assert.match(cliCommand(request), / --without volumes --without notify/);
  assert.equal(build(fromTask(task({}))).request.without, undefined);
});

test("each rule that the server names finds its field", () => {
  const found = violations(
    "job_name: is required; args: can't be split: a; b: no closing quotation; gpu: must be an integer",
  );
  assert.deepEqual(
    [...found],
    [
      ["job_name", "is required"],
      ["args", "can't be split: a; b: no closing quotation"],
      ["gpu", "must be an integer"],
    ],
  );
  assert.equal(violations("toString: is hostile").size, 0);
});

test("the terminal's command is safe to paste", () => {
  const command = cliCommand({ job_name: "a", env: { A: "$(rm -rf /)" }, command: ["sh", "-c", "x; y"] });
  assert.equal(command, "fetchml submit --name a --env 'A=$(rm -rf /)' -- sh -c 'x; y'");
});

test("only the reply to the newest request counts", async () => {
  const replies: ((text: string) => void)[] = [];
  const check = new FormCheck<string, string>(
    () => new Promise((resolve) => replies.push(resolve)),
    violations,
  );
  const first = check.now("first");
  const second = check.now("second");
  replies[1]?.("second is fine");
  await second;
  replies[0]?.("first is fine");
  await first;
  assert.equal(check.accepted.value, "second is fine");
  assert.equal(check.isChecking.value, false);
});

test("a refusal marks its fields, and any other failure is a problem of the whole", async () => {
  let error = new ApiError("gpu: must be an integer", 422, "VALIDATION_ERROR");
  const check = new FormCheck<string, string>(() => Promise.reject(error), violations);
  await check.now("x");
  assert.equal(check.errors.value.get("gpu"), "must be an integer");
  assert.equal(check.problem.value, undefined);
  error = new ApiError("The queue is full", 429, "RATE_LIMITED");
  await check.now("x");
  assert.equal(check.errors.value.size, 0);
  assert.equal(check.problem.value, "The queue is full");
});
