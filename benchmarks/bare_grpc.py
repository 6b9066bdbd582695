"""The floor of gRPC: a grpc.aio handler that takes a message, gives one, and does nothing else."""

from typing import Any

import grpc
import uvloop

from fetchml.v1 import task_pb2


async def create(request: task_pb2.CreateTaskRequest, _: Any) -> task_pb2.Task:
    return task_pb2.Task(id="1", job_name=request.job_name, status=task_pb2.Task.queued)


async def serve() -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        create, task_pb2.CreateTaskRequest.FromString, task_pb2.Task.SerializeToString
    )
    server = grpc.aio.server()
    service = grpc.method_handlers_generic_handler(
        "fetchml.v1.TaskService", {"CreateTask": handler}
    )
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready grpc=127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve())
