// Submits a task, follows it to its end, and prints what it wrote.
//
//   npm install
//   FETCHML_API_KEY=… node client.js my-job python train.py --lr 0.1
"use strict";

const { randomUUID } = require("node:crypto");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

const PROTOS = path.join(__dirname, "../../../proto");
const RECONNECT_SECONDS = 60;

const definition = protoLoader.loadSync("fetchml/v1/task.proto", {
  includeDirs: [PROTOS],
  keepCase: true, // the contract's names: job_name, not jobName
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
  // A server that vanished without a word is noticed within a minute.
  { "grpc.keepalive_time_ms": 40_000, "grpc.max_reconnect_backoff_ms": 2_000 },
);

function call(method, request) {
  const deadline = Date.now() + 30_000;
  return new Promise((resolve, reject) =>
    client[method](request, key, { deadline }, (error, reply) =>
      error ? reject(error) : resolve(reply),
    ),
  );
}

const ended = (task) => task.status === "completed" || task.status === "failed";
const wasCut = (error) => error.code === grpc.status.UNAVAILABLE;

// Calls again while the server is away. The idempotency key makes many tries one task.
async function submit(job_name, command) {
  const request = { job_name, command, idempotency_key: randomUUID() };
  for (let tries = 1; ; tries++) {
    try {
      return await call("CreateTask", request);
    } catch (error) {
      if (!wasCut(error) || tries === 5) throw error;
      await sleep(tries * 500);
    }
  }
}

// Every change of the task, to its end. After a cut it goes on after the last change that it saw.
async function* watch(task_id) {
  let since_seq;
  let cutAt;
  for (;;) {
    const stream = client.WatchTasks({ task_id, since_seq }, key);
    try {
      for await (const update of stream) {
        cutAt = undefined;
        // A snapshot that is cut short can't be resumed.
        if (update.type !== "snapshot") since_seq = update.seq;
        // `synced`: the snapshot, which has live tasks only, is complete. `resync`: changes were
        // missed. In both cases the task itself tells how it is.
        const mustRead = update.type === "synced" || update.type === "resync";
        const task = mustRead ? await call("GetTask", { task_id }) : update.task;
        yield task;
        if (ended(task) || update.type === "task_deleted") return;
      }
    } catch (error) {
      cutAt ??= Date.now();
      if (!wasCut(error) || Date.now() - cutAt > RECONNECT_SECONDS * 1000) throw error;
      console.error(`cut off; going on after ${since_seq ?? "nothing"}`);
      await sleep(200);
    } finally {
      stream.cancel();
    }
  }
}

// What the server has told beyond the status: its code, the fields at fault, the trace id.
function explain(error) {
  const root = protobuf.loadSync(
    ["status", "error_details"].map((name) => path.join(PROTOS, `google/rpc/${name}.proto`)),
  );
  const decode = (type, data) => root.lookupType(type).decode(data);
  console.error(`error ${grpc.status[error.code]}: ${error.details}`);
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!packed) return;
  for (const { type_url, value } of decode("google.rpc.Status", packed).details) {
    const type = type_url.split("/").pop();
    const detail = decode(type, value);
    if (type === "google.rpc.ErrorInfo") {
      console.error(`  code ${detail.reason}, trace ${detail.metadata.trace_id}`);
    } else if (type === "google.rpc.BadRequest") {
      for (const { field, description } of detail.fieldViolations) {
        console.error(`  ${field}: ${description}`);
      }
    }
  }
}

async function main(jobName, ...command) {
  let task = await submit(jobName, command);
  console.log(`task ${task.id}`);
  let status;
  for await (task of watch(task.id)) {
    if (task.status !== status) console.log(task.status);
    status = task.status;
  }
  for await (const chunk of client.StreamTaskLogs({ task_id: task.id }, key)) {
    process.stdout.write(chunk.data);
  }
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
