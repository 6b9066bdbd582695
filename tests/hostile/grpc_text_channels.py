"""Text in the fields and metadata of gRPC, as it is on the wire: it need not be UTF-8."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from fetchml.v1 import access_pb2, jupyter_pb2, sweep_pb2, task_pb2
from testbed.http2 import Connection, message
from tests.hostile.raw import ADMIN_KEY, Marks
from tests.hostile.text_channels import Channel, raw
from tests.server.ways_in_table import METHODS
from tests.support.cli_server import Server
from tests.support.waiting import SECONDS

NEVER_ENDS = frozenset({"TaskService.WatchTasks"})
"""It has taken the text once it has replied."""
DEPTH = 2
"""Of messages in messages."""
WRONG_CODES = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNIMPLEMENTED,
)
"""No text may cause an error of the server. A 503 would be one too: nothing here lacks room."""
METADATA = (b"x-forwarded-for", b"idempotency-key", b"traceparent", b"x-request-id", b"a-bin")


def create(marks: Marks) -> bytes:
    request = task_pb2.CreateTaskRequest(job_name="a", command=marks.command())
    return request.SerializeToString()


def sweep(marks: Marks) -> bytes:
    values = sweep_pb2.SweepParameter(range=[1, 1])
    return sweep_pb2.CreateSweepRequest(parameters={"p": values}).SerializeToString()


BASES: dict[str, Callable[[Marks], bytes]] = {
    "CreateTaskRequest": create,
    "CreateSweepRequest": sweep,
    # More GPUs than any machine has, so that nothing starts.
    "StartJupyterRequest": lambda _: jupyter_pb2.StartJupyterRequest(
        name="a", gpu=2**31 - 1
    ).SerializeToString(),
}
"""The rest of a message, by its type, so that the server gets to the text."""


def grpc_field(name: str, path: tuple[FieldDescriptor, ...]) -> Channel:
    """`path`: the field, and before it those of the messages around it."""

    def send(server: Server, marks: Marks, value: str) -> None:
        sent = raw(value)
        for each in reversed(path):
            kind: Any = each.containing_type
            base = BASES.get(kind.name)
            sent = (b"" if base is None else base(marks)) + field(each.number, sent)
        if name == "SweepService.CreateSweep" and len(path) == 1:
            sent += field(2, create(marks))
        call_grpc(server, name, sent)

    return send


def grpc_metadata(method: str, key: bytes) -> Channel:
    """Metadata of a call, on a connection of its own: the library sends valid metadata only."""

    def send(server: Server, marks: Marks, value: str) -> None:
        data = create(marks)
        if method == "AccessService.ExecTask":
            start = access_pb2.ExecStart(task_id="x", command=["true"])
            data = access_pb2.ExecTaskRequest(start=start).SerializeToString()
        metadata = [(key, raw(value)), (b"x-api-key", ADMIN_KEY.encode())]
        with Connection(server.grpc) as connection:
            stream = connection.call(f"fetchml.v1.{method.replace('.', '/')}", None, *metadata)
            connection.send(stream, message(data), last=True)
            connection.end_of(stream, SECONDS)
        call_grpc(server, "GpuService.ListGpus", b"")

    return send


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@cache
def connected(address: str) -> grpc.Channel:
    return grpc.insecure_channel(address)


def disconnect(server: Server) -> None:
    connected(server.grpc).close()
    connected.cache_clear()


def call_grpc(server: Server, name: str, data: bytes) -> None:
    method, channel = METHODS[name], connected(server.grpc)
    call: Any
    path, code = f"/fetchml.v1.{name.replace('.', '/')}", grpc.StatusCode.OK
    options: dict[str, Any] = {"metadata": (("x-api-key", ADMIN_KEY),), "timeout": SECONDS}
    try:
        if method.client_streaming and method.server_streaming:
            call = channel.stream_stream(path, None, None)
            list(call(iter([data]), **options))
        elif method.client_streaming:
            call = channel.stream_unary(path, None, None)
            call(iter([data]), **options)
        elif method.server_streaming:
            call = channel.unary_stream(path, None, None)
            replies = call(data, **options)
            if name in NEVER_ENDS:
                replies.initial_metadata()
                replies.cancel()
            list(replies)
        else:
            call = channel.unary_unary(path, None, None)
            call(data, **options)
    except grpc.RpcError as error:
        code = error.code()
    assert code not in WRONG_CODES, (name, code)


def text_fields(kind: Descriptor, depth: int = DEPTH) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yield every text and every map of a message, with the fields that lead to it."""
    for each in kind.fields:
        inner = each.message_type
        is_map = inner is not None and inner.GetOptions().map_entry
        if each.type == FieldDescriptor.TYPE_STRING or is_map:
            yield (each,)
        elif inner is not None and depth and inner.full_name.startswith("fetchml."):
            yield from ((each, *path) for path in text_fields(inner, depth - 1))


def grpc_channels() -> Iterator[Channel]:
    for name, method in METHODS.items():
        for path in text_fields(method.input_type):
            yield grpc_field(name, path)
    for name in ("TaskService.CreateTask", "AccessService.ExecTask"):
        for key in METADATA:
            yield grpc_metadata(name, key)
