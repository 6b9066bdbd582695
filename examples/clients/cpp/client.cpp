// Submits a task, follows it to its end, and prints its log.
//
//   ./build.sh
//   FETCHML_API_KEY=… ./client my-job python train.py --lr 0.1

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
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

std::string Variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

bool Ended(const Task& task) { return task.status() == Task::completed || task.status() == Task::failed; }

// The first of an error's google.rpc details that is a `Detail`.
template <typename Detail>
std::optional<Detail> Find(const grpc::Status& failed) {
  google::rpc::Status details;
  details.ParseFromString(failed.error_details());
  Detail found;
  for (const auto& packed : details.details()) {
    if (packed.UnpackTo(&found)) return found;
  }
  return std::nullopt;
}

// Delay before the next try, if a retry can help: the server is away, or busy for a known time.
std::optional<Clock::duration> PauseAfter(const grpc::Status& failed) {
  if (failed.error_code() == grpc::UNAVAILABLE) return 200ms;
  if (failed.error_code() != grpc::RESOURCE_EXHAUSTED) return std::nullopt;
  const auto busy = Find<google::rpc::RetryInfo>(failed);
  if (!busy) return std::nullopt;
  return std::chrono::seconds(busy->retry_delay().seconds()) +
         std::chrono::nanoseconds(busy->retry_delay().nanos());
}

// Limits the time of retries, counted from the first failure since the last success.
class Patience {
 public:
  void Worked() { failed_at_.reset(); }

  // Waits before the next try. Returns false if a retry can't help.
  bool Rest(const grpc::Status& failed) {
    const auto pause = PauseAfter(failed);
    if (!failed_at_) failed_at_ = Clock::now();
    if (!pause || Clock::now() + *pause - *failed_at_ > limit_) return false;
    std::this_thread::sleep_for(*pause);
    return true;
  }

 private:
  const std::chrono::seconds limit_{std::stoi(Variable("FETCHML_PATIENCE", "60"))};
  std::optional<Clock::time_point> failed_at_;
};

// Every call needs its own context with the key.
struct Context : grpc::ClientContext {
  Context() { AddMetadata("x-api-key", Variable("FETCHML_API_KEY", "")); }
};

std::string NewKey() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random()) + "-" + std::to_string(random());
}

// Calls until it works. Only for calls that may be repeated.
template <typename Call>
grpc::Status Again(const Call& call) {
  for (Patience patience;;) {
    Context context;
    grpc::Status status = call(&context);
    if (status.ok() || !patience.Rest(status)) return status;
  }
}

grpc::Status Submit(TaskService::Stub& tasks, const std::string& job_name,
                    const std::vector<std::string>& command, Task* task) {
  CreateTaskRequest request;
  request.set_job_name(job_name);
  request.mutable_command()->Add(command.begin(), command.end());
  request.set_idempotency_key(NewKey());  // one task, however often it is sent
  return Again([&](Context* context) { return tasks.CreateTask(context, request, task); });
}

// The task after an update.
grpc::Status Look(TaskService::Stub& tasks, const WatchTasksResponse& update, const std::string& id,
                  Task* task) {
  if (update.has_task()) {
    *task = update.task();
    return grpc::Status::OK;
  }
  // `synced`: the snapshot, which has live tasks only, is complete. `resync`: changes were missed.
  // Both need a look at the task itself.
  GetTaskRequest request;
  request.set_task_id(id);
  return Again([&](Context* context) { return tasks.GetTask(context, request, task); });
}

// Prints every status of the task, to its end. It resumes after a cut.
grpc::Status Watch(TaskService::Stub& tasks, const std::string& id, Task* task) {
  WatchTasksRequest request;
  request.set_task_id(id);
  Task::Status shown = Task::status_unspecified;
  for (Patience patience;;) {
    Context context;
    auto stream = tasks.WatchTasks(&context, request);
    // An accepted stream works, even if it is quiet for hours.
    stream->WaitForInitialMetadata();
    if (context.GetServerInitialMetadata().count("x-trace-id") > 0) patience.Worked();
    WatchTasksResponse update;
    grpc::Status looked;
    bool done = false;
    while (!done && looked.ok() && stream->Read(&update)) {
      patience.Worked();
      // An interrupted snapshot can't be resumed.
      if (update.type() != WatchTasksResponse::snapshot) request.set_since_seq(update.seq());
      looked = Look(tasks, update, id, task);
      if (looked.ok() && task->status() != shown) {
        shown = task->status();
        std::cout << Task::Status_Name(shown) << std::endl;
      }
      done = looked.ok() && (Ended(*task) || update.type() == WatchTasksResponse::task_deleted);
    }
    if (done || !looked.ok()) context.TryCancel();  // the stream itself would continue
    grpc::Status status = stream->Finish();
    if (done) return grpc::Status::OK;
    if (!looked.ok()) status = looked;
    if (!patience.Rest(status)) return status;
    std::cerr << "cut off; going on after " << request.since_seq() << std::endl;
  }
}

// Prints the task's log. After a cut it continues at the next byte.
grpc::Status PrintLog(TaskService::Stub& tasks, const std::string& id) {
  StreamTaskLogsRequest request;
  request.set_task_id(id);
  for (Patience patience;;) {
    Context context;
    auto stream = tasks.StreamTaskLogs(&context, request);
    for (TaskLogChunk chunk; stream->Read(&chunk);) {
      patience.Worked();
      std::cout << chunk.data() << std::flush;
      request.set_offset(chunk.offset() + chunk.data().size());
    }
    grpc::Status status = stream->Finish();
    if (status.ok() || !patience.Rest(status)) return status;
    std::cerr << "cut off; going on after " << request.offset() << std::endl;
  }
}

// Prints the details of an error: its code, the fields at fault, the trace id.
void Explain(const grpc::Status& failed) {
  std::cerr << "error " << failed.error_code() << ": " << failed.error_message() << "\n";
  if (const auto info = Find<google::rpc::ErrorInfo>(failed)) {
    // An error of a proxy, for example, may have no details.
    const auto trace = info->metadata().find("trace_id");
    std::cerr << "  code " << info->reason() << ", trace "
              << (trace == info->metadata().end() ? "unknown" : trace->second) << "\n";
  }
  if (const auto bad = Find<google::rpc::BadRequest>(failed)) {
    for (const auto& violation : bad->field_violations()) {
      std::cerr << "  " << violation.field() << ": " << violation.description() << "\n";
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
  // Detects a vanished server within a minute.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 40'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  auto tasks = TaskService::NewStub(grpc::CreateCustomChannel(
      Variable("FETCHML_SERVER", "127.0.0.1:9102"),
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
