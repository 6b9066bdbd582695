// Submits a task, follows it to its end, and prints what it wrote.
//
//   ./build.sh
//   FETCHML_API_KEY=… ./client my-job python train.py --lr 0.1

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "fetchml/v1/task.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

using namespace fetchml::v1;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kReconnectFor = 60s;

std::string Environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

bool Ended(const Task& task) { return task.status() == Task::completed || task.status() == Task::failed; }

bool WasCut(const grpc::Status& status) { return status.error_code() == grpc::UNAVAILABLE; }

// Every call needs a context of its own, with the key in it.
struct Context : grpc::ClientContext {
  Context() { AddMetadata("x-api-key", Environment("FETCHML_API_KEY", "")); }
};

std::string NewKey() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random()) + "-" + std::to_string(random());
}

// Calls again while the server is away. The idempotency key makes many tries one task.
grpc::Status Submit(TaskService::Stub& tasks, const std::string& job_name,
                    const std::vector<std::string>& command, Task* task) {
  CreateTaskRequest request;
  request.set_job_name(job_name);
  request.mutable_command()->Add(command.begin(), command.end());
  request.set_idempotency_key(NewKey());
  for (int tries = 1;; tries++) {
    Context context;
    grpc::Status status = tasks.CreateTask(&context, request, task);
    if (!WasCut(status) || tries == 5) return status;
    std::this_thread::sleep_for(tries * 500ms);
  }
}

// How the task is after an update.
grpc::Status Look(TaskService::Stub& tasks, const WatchTasksResponse& update, const std::string& id,
                  Task* task) {
  if (update.has_task()) {
    *task = update.task();
    return grpc::Status::OK;
  }
  // `synced`: the snapshot, which has live tasks only, is complete. `resync`: changes were missed.
  // In both cases the task itself tells how it is.
  GetTaskRequest request;
  request.set_task_id(id);
  Context context;
  return tasks.GetTask(&context, request, task);
}

// Prints every status of the task, to its end. After a cut it goes on after the last change that it
// saw.
grpc::Status Watch(TaskService::Stub& tasks, const std::string& id, Task* task) {
  WatchTasksRequest request;
  request.set_task_id(id);
  auto last_heard = Clock::now();
  Task::Status shown = Task::status_unspecified;
  for (;;) {
    Context context;
    auto stream = tasks.WatchTasks(&context, request);
    WatchTasksResponse update;
    grpc::Status looked;
    bool done = false;
    while (!done && looked.ok() && stream->Read(&update)) {
      last_heard = Clock::now();
      // A snapshot that is cut short can't be resumed.
      if (update.type() != WatchTasksResponse::snapshot) request.set_since_seq(update.seq());
      looked = Look(tasks, update, id, task);
      if (looked.ok() && task->status() != shown) {
        shown = task->status();
        std::cout << Task::Status_Name(shown) << std::endl;
      }
      done = looked.ok() && (Ended(*task) || update.type() == WatchTasksResponse::task_deleted);
    }
    if (done || !looked.ok()) context.TryCancel();  // the stream itself goes on
    grpc::Status status = stream->Finish();
    if (done) return grpc::Status::OK;
    if (!looked.ok()) status = looked;
    if (!WasCut(status) || Clock::now() - last_heard > kReconnectFor) return status;
    std::cerr << "cut off; going on after " << request.since_seq() << std::endl;
    std::this_thread::sleep_for(200ms);
  }
}

grpc::Status PrintLog(TaskService::Stub& tasks, const std::string& id) {
  StreamTaskLogsRequest request;
  request.set_task_id(id);
  Context context;
  auto stream = tasks.StreamTaskLogs(&context, request);
  for (TaskLogChunk chunk; stream->Read(&chunk);) std::cout << chunk.data();
  return stream->Finish();
}

// What the server has told beyond the status: its code, the fields at fault, the trace id.
void Explain(const grpc::Status& failed) {
  std::cerr << "error " << failed.error_code() << ": " << failed.error_message() << "\n";
  google::rpc::Status details;
  details.ParseFromString(failed.error_details());
  for (const auto& packed : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (packed.UnpackTo(&info)) {
      std::cerr << "  code " << info.reason() << ", trace " << info.metadata().at("trace_id") << "\n";
    } else if (packed.UnpackTo(&bad)) {
      for (const auto& violation : bad.field_violations()) {
        std::cerr << "  " << violation.field() << ": " << violation.description() << "\n";
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: client JOB_NAME COMMAND…\n";
    return 2;
  }
  grpc::ChannelArguments arguments;
  // A server that vanished without a word is noticed within a minute.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 40'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  auto tasks = TaskService::NewStub(grpc::CreateCustomChannel(
      Environment("FETCHML_SERVER", "127.0.0.1:9102"),
      grpc::InsecureChannelCredentials(),  // with TLS: grpc::SslCredentials({})
      arguments));

  Task task;
  grpc::Status status = Submit(*tasks, argv[1], {argv + 2, argv + argc}, &task);
  if (status.ok()) {
    std::cout << "task " << task.id() << std::endl;
    const std::string id = task.id();
    status = Watch(*tasks, id, &task);
    if (status.ok()) status = PrintLog(*tasks, id);
  }
  if (!status.ok()) {
    Explain(status);
    return 2;
  }
  return task.status() == Task::completed ? 0 : 1;
}
