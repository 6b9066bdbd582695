// Submits a task, follows it to its end, and prints its log.
//
//   npm install
//   FETCHML_API_KEY=… node client.js my-job python train.py --lr 0.1
"use strict";

const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");
const { FileDescriptorSet } = require("protobufjs/ext/descriptor");

// The API's protos, and those of Google that they import. Loaded from here, a map (`env`,
// `metadata`) is a list of `{ key, value }`.
const DESCRIPTORS = readFileSync(path.join(__dirname, "../../../proto/fetchml.binpb"));
const PATIENCE_MS = 1000 * (process.env.FETCHML_PATIENCE ?? 60);

const definition = protoLoader.loadFileDescriptorSetFromBuffer(DESCRIPTORS, {
  enums: String, // "running", not 3
  longs: Number, // `seq` and `offset` stay far below 2^53
  defaults: true,
});
const { TaskService } = grpc.loadPackageDefinition(definition).fetchml.v1;

const key = new grpc.Metadata();
key.set("x-api-key", process.env.FETCHML_API_KEY ?? "");
const client = new TaskService(
  process.env.FETCHML_SERVER ?? "127.0.0.1:9102",
  grpc.credentials.createInsecure(), // with TLS: createSsl()
  // Detects a vanished server within a minute.
  { "grpc.keepalive_time_ms": 40_000, "grpc.max_reconnect_backoff_ms": 2_000 },
);

// The google.rpc details of an error, with the names of their types; others are left out.
function detailsOf(error) {
  const root = protobuf.Root.fromDescriptor(FileDescriptorSet.decode(DESCRIPTORS));
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = packed ? root.lookupType("google.rpc.Status").decode(packed).details : [];
  return details.flatMap(({ type_url, value }) => {
    const type = type_url.split("/").pop();
    const known = root.lookup(type);
    return known ? [{ type, ...known.decode(value) }] : [];
  });
}

// Milliseconds before the next try, if a retry can help: the server is away, or busy for a known
// time.
function pauseAfter(error) {
  if (error.code === grpc.status.UNAVAILABLE) return 200;
  if (error.code !== grpc.status.RESOURCE_EXHAUSTED) return undefined;
  const delay = detailsOf(error).find(({ type }) => type === "google.rpc.RetryInfo")?.retry_delay;
  return delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
}

// Limits the time of retries, counted from the first failure since the last success.
class Patience {
  worked() {
    this.failedAt = undefined;
  }

  // Waits before the next try. Throws the error if a retry can't help.
  async rest(error) {
    const pause = pauseAfter(error);
    this.failedAt ??= Date.now();
    if (pause === undefined || Date.now() + pause - this.failedAt > PATIENCE_MS) throw error;
    await sleep(pause);
  }
}

// Only for calls that may be repeated.
async function call(method, request) {
  const patience = new Patience();
  for (;;) {
    try {
      return await new Promise((resolve, reject) =>
        client[method](request, key, { deadline: Date.now() + 30_000 }, (error, reply) =>
          error ? reject(error) : resolve(reply),
        ),
      );
    } catch (error) {
      await patience.rest(error);
    }
  }
}

// The messages of a stream, which resumes after a cut. The reader records the position in the request.
async function* stream(method, request) {
  const patience = new Patience();
  for (;;) {
    const messages = client[method](request, key);
    // An accepted stream works, even if it is quiet for hours.
    messages.on("metadata", (initial) => initial.get("x-trace-id").length && patience.worked());
    try {
      for await (const message of messages) {
        patience.worked();
        yield message;
      }
      return;
    } catch (error) {
      await patience.rest(error);
      console.error(`cut off; going on after ${request.since_seq ?? request.offset ?? "nothing"}`);
    } finally {
      messages.cancel();
    }
  }
}

const ended = (task) => task.status === "completed" || task.status === "failed";

// Every change of the task, to its end.
async function* watch(task_id) {
  const request = { task_id };
  for await (const update of stream("WatchTasks", request)) {
    // An interrupted snapshot can't be resumed.
    if (update.type !== "snapshot") request.since_seq = update.seq;
    // `synced`: the snapshot, which has live tasks only, is complete. `resync`: changes were
    // missed. Both need a look at the task itself.
    const mustRead = update.type === "synced" || update.type === "resync";
    const task = mustRead ? await call("GetTask", { task_id }) : update.task;
    yield task;
    if (ended(task) || update.type === "task_deleted") return;
  }
}

async function printLog(task_id) {
  const request = { task_id, offset: 0 };
  for await (const { data, offset } of stream("StreamTaskLogs", request)) {
    process.stdout.write(data);
    request.offset = offset + data.length;
  }
}

// Prints the details of an error: its code, the fields at fault, the trace id.
function explain(error) {
  console.error(`error ${grpc.status[error.code]}: ${error.details}`);
  for (const detail of detailsOf(error)) {
    if (detail.type === "google.rpc.ErrorInfo") {
      const trace = detail.metadata.find(({ key }) => key === "trace_id")?.value ?? "unknown";
      console.error(`  code ${detail.reason}, trace ${trace}`);
    } else if (detail.type === "google.rpc.BadRequest") {
      for (const { field, description } of detail.field_violations) {
        console.error(`  ${field}: ${description}`);
      }
    }
  }
}

async function main(job_name, ...command) {
  // With the key it is one task, however often the call is repeated.
  let task = await call("CreateTask", { job_name, command, idempotency_key: randomUUID() });
  console.log(`task ${task.id}`);
  let status;
  for await (task of watch(task.id)) {
    if (task.status !== status) console.log(task.status);
    status = task.status;
  }
  await printLog(task.id);
  return status === "completed" ? 0 : 1;
}

main(...process.argv.slice(2))
  .catch((error) => {
    explain(error);
    return 2;
  })
  .then((code) => {
    client.close();
    process.exitCode = code;
  });
