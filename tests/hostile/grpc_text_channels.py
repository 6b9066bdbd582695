"""Text in the fields and metadata of gRPC, as it is on the wire: it need not be UTF-8."""

from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from fetchml.v1 import (
    access_pb2,
    audit_pb2,
    environment_pb2,
    experiment_pb2,
    gpu_pb2,
    jupyter_pb2,
    key_pb2,
    notification_pb2,
    snapshot_pb2,
    sweep_pb2,
    task_pb2,
)
from tests.hostile.raw import ADMIN_KEY, SECONDS, Marks, create_task_with
from tests.hostile.text_channels import Channel, raw
from tests.server.ways_in_table import METHODS
from tests.support.cli_server import Server

STREAMS = ("AccessService/ExecTask", "AccessService/ForwardPort")
WRONG_CODES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
REQUESTS: dict[str, Any] = {
    "TaskService/CreateTask": task_pb2.CreateTaskRequest,
    "TaskService/GetTask": task_pb2.GetTaskRequest,
    "TaskService/ListTasks": task_pb2.ListTasksRequest,
    "TaskService/ExplainTask": task_pb2.ExplainTaskRequest,
    "TaskService/CancelTask": task_pb2.CancelTaskRequest,
    "TaskService/UpdateTask": task_pb2.UpdateTaskRequest,
    "TaskService/InterruptTask": task_pb2.InterruptTaskRequest,
    "TaskService/ListTaskOutputs": task_pb2.ListTaskOutputsRequest,
    "SweepService/CreateSweep": sweep_pb2.CreateSweepRequest,
    "SweepService/ListSweeps": sweep_pb2.ListSweepsRequest,
    "SweepService/CancelSweep": sweep_pb2.CancelSweepRequest,
    "SweepService/ListBestTasks": sweep_pb2.ListBestTasksRequest,
    "AccessService/OpenTaskPort": access_pb2.OpenTaskPortRequest,
    "ExperimentService/CreateExperiment": experiment_pb2.CreateExperimentRequest,
    "ExperimentService/GetExperiment": experiment_pb2.GetExperimentRequest,
    "JupyterService/StartJupyter": jupyter_pb2.StartJupyterRequest,
    "SnapshotService/GetSnapshot": snapshot_pb2.GetSnapshotRequest,
    "KeyService/CreateKey": key_pb2.CreateKeyRequest,
    "KeyService/RevokeKey": key_pb2.RevokeKeyRequest,
    "AuditService/ListAudit": audit_pb2.ListAuditRequest,
    "GpuService/DrainGpu": gpu_pb2.DrainGpuRequest,
    "EnvironmentService/ListEnvironments": environment_pb2.ListEnvironmentsRequest,
    "EnvironmentService/DeleteEnvironment": environment_pb2.DeleteEnvironmentRequest,
    "NotificationService/RetryNotification": notification_pb2.RetryNotificationRequest,
    "NotificationService/GetWebhookSecret": notification_pb2.GetWebhookSecretRequest,
}


NESTED: Mapping[str, Mapping[str, type[Message]]] = {
    "TaskService/CreateTask": {
        "after": task_pb2.Dependency,
        "environment": task_pb2.Environment,
        "notify": task_pb2.NotifyTarget,
    },
    "NotificationService/SetNotificationSettings": {"notify": task_pb2.NotifyTarget},
    "SweepService/CreateSweep": {"task": task_pb2.CreateTaskRequest},
    "AccessService/ExecTask": {"start": access_pb2.ExecStart},
    "AccessService/ForwardPort": {"start": access_pb2.ForwardStart},
}
"""Text fields inside of others."""


def grpc_field(name: str, *numbers: int) -> Channel:
    """`numbers`: of the field, and before it those of the messages around it."""

    def send(server: Server, marks: Marks, value: str) -> None:
        data = b""
        if name == "TaskService/CreateTask":
            request = task_pb2.CreateTaskRequest(job_name="a", command=marks.command())
            data = request.SerializeToString()
        elif name == "JupyterService/StartJupyter":
            data = jupyter_pb2.StartJupyterRequest(name="a", gpu=2**31 - 1).SerializeToString()
        elif name == "SweepService/CreateSweep":
            task = task_pb2.CreateTaskRequest(job_name="a", command=marks.command())
            values = sweep_pb2.SweepParameter(range=[1, 1])
            made = sweep_pb2.CreateSweepRequest(task=task, parameters={"p": values})
            data = made.SerializeToString()
        sent = raw(value)
        for number in reversed(numbers):
            sent = field(number, sent)
        call_grpc(server, name, data + sent)

    return send


def grpc_metadata(key: bytes) -> Channel:
    def send(server: Server, marks: Marks, value: str) -> None:
        request = task_pb2.CreateTaskRequest(job_name="a", command=marks.command())
        metadata = [(key, raw(value)), (b"x-api-key", ADMIN_KEY.encode())]
        data = request.SerializeToString()
        create_task_with(server, metadata, data)
        call_grpc(server, "GpuService/ListGpus", b"")

    return send


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def call_grpc(server: Server, name: str, data: bytes) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        metadata = (("x-api-key", ADMIN_KEY),)
        code = grpc.StatusCode.OK
        try:
            if name in STREAMS:
                call: Any = channel.stream_stream(f"/fetchml.v1.{name}", None, None)
                list(call(iter([data]), metadata=metadata, timeout=SECONDS))
            else:
                call = channel.unary_unary(f"/fetchml.v1.{name}", None, None)
                call(data, metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            code = error.code()
        assert code not in WRONG_CODES, name


def grpc_channels() -> Iterator[Channel]:
    for name, request in REQUESTS.items():
        for each in request.DESCRIPTOR.fields:
            is_map = each.message_type is not None and each.message_type.GetOptions().map_entry
            if each.type == FieldDescriptor.TYPE_STRING or is_map:
                yield grpc_field(name, each.number)
    for name, inner in NESTED.items():
        for parent, message in inner.items():
            outer = METHODS[name.replace("/", ".")].input_type.fields_by_name[parent].number
            for each in message.DESCRIPTOR.fields:
                if each.type == FieldDescriptor.TYPE_STRING:
                    yield grpc_field(name, outer, each.number)
    for key in (b"x-forwarded-for", b"idempotency-key", b"traceparent", b"x-request-id", b"a-bin"):
        yield grpc_metadata(key)
