"""Every place where text reaches the server: each channel sends a text and checks the reply."""

import base64
import gzip
import io
import json
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck
from hypothesis import strategies as st

from fetchml.v1 import (
    audit_pb2,
    experiment_pb2,
    gpu_pb2,
    jupyter_pb2,
    key_pb2,
    snapshot_pb2,
    task_pb2,
)
from tests.hostile.raw import (
    ADMIN_KEY,
    SECONDS,
    Marks,
    ask,
    create_task_with,
    submit,
)
from tests.support.cli_server import Server

MIB = 1 << 20
HEAD_BYTES = 8190
"""A longer line of a head may be refused by closing the connection."""
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
pieces = st.sampled_from(
    [
        "a", "é", "\U0001f600", "\ud800", "\udcff", "\udbff\ud800", "\0", "\r\n", "\n", "\x1b[31m",
        "\u202e", "\u2066", "\u2028", "\x7f", "\x85", "\ufeff", "%ff", "%00", "%0d%0a", "../", "'",
        '"', "\\", "{", "${x}", "\\ud800",
    ]
)  # fmt: skip
texts = st.one_of(
    st.lists(pieces, min_size=1, max_size=6).map("".join),
    st.lists(pieces, min_size=1, max_size=6).map("".join),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=20),
    st.sampled_from(["x" * MIB, "\u202e" * MIB, "a\n" * (MIB // 2)]),
)


def raw(value: str) -> bytes:
    """Bytes that are not UTF-8 where the text has a lone surrogate."""
    with suppress(UnicodeEncodeError):
        return value.encode()
    return b"".join(
        bytes([ord(c) - 0xDC00])
        if "\udc80" <= c <= "\udcff"
        else c.encode("utf-8", "surrogatepass")
        for c in value
    )


def is_right(status: int, value: str) -> bool:
    """An answer of the client's concern. 503: Jupyter services need containers here."""
    return status in range(200, 500) or status == 503 or (status == 0 and len(value) > HEAD_BYTES)


# REST

TASK_FIELDS: dict[str, Callable[[str], object]] = {
    "job_name": str,
    "args": str,
    "snapshot_id": str,
    "experiment_id": str,
    "image": str,
    "datasets": lambda value: [value],
    "metadata": lambda value: {"k": value},
    "env": lambda value: {"K": value},
}
DATASET_FIELDS = ["name", "source", "sha256", "mount_path"]
OTHER_BODIES = [
    (b"/v1/experiments", "name"),
    (b"/v1/experiments", "description"),
    (b"/v1/experiments", "commit_id"),
    (b"/v1/jupyter/services", "name"),
    (b"/v1/jupyter/services", "workspace"),
    (b"/v1/jupyter/services", "image"),
]
HEADERS = [
    b"X-API-Key", b"Idempotency-Key", b"X-Forwarded-For", b"traceparent", b"x-request-id",
    b"User-Agent", b"Content-Type", b"Cookie", b"Sec-WebSocket-Protocol", b"Origin", b"Host",
]  # fmt: skip
TARGETS = [
    b"/v1/tasks/%s", b"/v1/tasks/%s/logs", b"/v1/tasks/x/outputs/%s", b"/v1/tasks?status=%s",
    b"/v1/tasks?%s=1", b"/v1/audit?user_id=%s", b"/v1/audit?target=%s", b"/v1/experiments/%s",
    b"/v1/snapshots/%s", b"/v1/jupyter/services/%s", b"/jupyter/%s/", b"/ws?task_id=%s", b"/%s",
    b"%s",
]  # fmt: skip
JSON = {b"Content-Type": b"application/json"}
Channel = Callable[[Server, Marks, str], None]


def task_field(name: str, wrap: Callable[[str], object]) -> Channel:
    def send(server: Server, marks: Marks, value: str) -> None:
        body = {"job_name": "a", "command": marks.command(), name: wrap(value)}
        assert is_right(submit(server.http, body).status, value)

    return send


def command_and_names(server: Server, marks: Marks, value: str) -> None:
    """Further arguments, names of metadata and variables, unknown fields: as raw bytes of JSON."""
    command = json.dumps(marks.command())[1:-1].encode()
    quoted = raw(value).replace(b'"', b"")
    body = (
        b'{"job_name": "a", "command": [%s, "%s"], "metadata": {"%s": "x"}, "env": {"%s": "x"}, '
        b'"%s": 1}'
    ) % (command, quoted, quoted, quoted, quoted)
    assert is_right(submit(server.http, body).status, value)


def dataset_field(name: str) -> Channel:
    def send(server: Server, marks: Marks, value: str) -> None:
        spec = {"name": "d", "source": "d", name: value}
        body = {"job_name": "a", "command": marks.command(), "dataset_specs": [spec]}
        assert is_right(submit(server.http, body).status, value)

    return send


def other_body(path: bytes, name: str) -> Channel:
    def send(server: Server, _: Marks, value: str) -> None:
        # No machine has so many GPUs: nothing is started.
        body = json.dumps({"name": "a", "gpu": 2**31 - 1, name: value}).encode()
        assert is_right(ask(server.http, b"POST", path, JSON, body).status, value)

    return send


def header(name: bytes) -> Channel:
    def send(server: Server, marks: Marks, value: str) -> None:
        body = {"job_name": "a", "command": marks.command()}
        assert is_right(submit(server.http, body, {name: raw(value)}).status, value)

    return send


def target(path: bytes) -> Channel:
    def send(server: Server, _: Marks, value: str) -> None:
        sent = path % raw(value).replace(b" ", b"")
        assert is_right(ask(server.http, b"GET", sent).status, value)

    return send


def method(server: Server, _: Marks, value: str) -> None:
    assert is_right(ask(server.http, raw(value), b"/v1/queue").status or 400, value)


# /ws


def ws_message(server: Server, _: Marks, value: str) -> None:
    host, port = server.http.rsplit(":", 1)
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nX-API-Key: %s\r\n\r\n"
    ) % (base64.b64encode(b"0" * 16), ADMIN_KEY.encode())
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(handshake)
        assert connection.recv(1 << 12).startswith(b"HTTP/1.1 101")
        with suppress(ConnectionError):
            connection.sendall(frame(raw(json.dumps({"type": value}))))
            connection.sendall(frame(raw(value)) + CLOSE)
            while connection.recv(1 << 12):  # It closes, since that was no message.
                pass


CLOSE = bytes([0x88, 0x82, 0, 0, 0, 0, 3, 232])
"""The frame with which a client ends a WebSocket."""


def frame(payload: bytes) -> bytes:
    """A text message, with a mask of zeros."""
    size = len(payload)
    if size < 126:
        head = bytes([0x81, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x81, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x81, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


# Archives


def archive_member(kind: bytes, tar_format: int) -> Channel:
    def send(server: Server, _: Marks, value: str) -> None:
        packed = io.BytesIO()
        name = raw(value).decode(errors="surrogateescape")
        with tarfile.open(fileobj=packed, mode="w", format=tar_format) as archive:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = name if kind != tarfile.REGTYPE else ""
            archive.addfile(member)
        body = gzip.compress(packed.getvalue(), 1)
        headers = {b"Content-Type": b"application/gzip"}
        answer = ask(server.http, b"PUT", b"/v1/snapshots?git_commit=x", headers, body)
        assert is_right(answer.status, value)
        answer = ask(server.http, b"PUT", b"/v1/snapshots", headers, body)
        assert is_right(answer.status, value)

    return send


def project_file(server: Server, _: Marks, value: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        data = b'image = "%s"\n' % raw(value)
        member = tarfile.TarInfo("fetchml.toml")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    body = gzip.compress(packed.getvalue(), 1)
    answer = ask(
        server.http, b"PUT", b"/v1/snapshots", {b"Content-Type": b"application/gzip"}, body
    )
    assert is_right(answer.status, value)


# gRPC: fields as they stand on the wire, so that they need not be UTF-8

WRONG_CODES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
REQUESTS: dict[str, Any] = {
    "TaskService/CreateTask": task_pb2.CreateTaskRequest,
    "TaskService/GetTask": task_pb2.GetTaskRequest,
    "TaskService/ListTasks": task_pb2.ListTasksRequest,
    "TaskService/ExplainTask": task_pb2.ExplainTaskRequest,
    "TaskService/CancelTask": task_pb2.CancelTaskRequest,
    "ExperimentService/CreateExperiment": experiment_pb2.CreateExperimentRequest,
    "ExperimentService/GetExperiment": experiment_pb2.GetExperimentRequest,
    "JupyterService/StartJupyter": jupyter_pb2.StartJupyterRequest,
    "SnapshotService/GetSnapshot": snapshot_pb2.GetSnapshotRequest,
    "KeyService/CreateKey": key_pb2.CreateKeyRequest,
    "KeyService/RevokeKey": key_pb2.RevokeKeyRequest,
    "AuditService/ListAudit": audit_pb2.ListAuditRequest,
    "GpuService/DrainGpu": gpu_pb2.DrainGpuRequest,
}


def grpc_field(name: str, number: int) -> Channel:
    def send(server: Server, marks: Marks, value: str) -> None:
        data = b""
        if name == "TaskService/CreateTask":
            request = task_pb2.CreateTaskRequest(job_name="a", command=marks.command())
            data = request.SerializeToString()
        elif name == "JupyterService/StartJupyter":
            data = jupyter_pb2.StartJupyterRequest(name="a", gpu=2**31 - 1).SerializeToString()
        call_grpc(server, name, data + field(number, raw(value)))

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
        call: Any = channel.unary_unary(f"/fetchml.v1.{name}", None, None)
        metadata = (("x-api-key", ADMIN_KEY),)
        code = grpc.StatusCode.OK
        try:
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
    for key in (b"x-forwarded-for", b"idempotency-key", b"traceparent", b"x-request-id", b"a-bin"):
        yield grpc_metadata(key)


REST_CHANNELS: list[Channel] = [
    *(task_field(name, wrap) for name, wrap in TASK_FIELDS.items()),
    *map(dataset_field, DATASET_FIELDS),
    *(other_body(path, name) for path, name in OTHER_BODIES),
    *map(header, HEADERS),
    *map(target, TARGETS),
    command_and_names,
    method,
]
OTHER_CHANNELS: list[Channel] = [
    ws_message,
    *(
        archive_member(kind, tar_format)
        for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE)
        for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    ),
    project_file,
]
GROUPS = {"rest": REST_CHANNELS, "grpc": [*grpc_channels()], "others": OTHER_CHANNELS}
