"""Every place where text reaches the server: each channel sends a text and checks the reply."""

import base64
import gzip
import io
import json
import socket
import tarfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from hypothesis import HealthCheck
from hypothesis import strategies as st

from tests.hostile.raw import (
    ADMIN_KEY,
    Marks,
    ask,
    submit,
)
from tests.support.cli_server import Server
from tests.support.waiting import SECONDS

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
    """The fault is the client's. The server lacks nothing here, so 503 is wrong too."""
    return status in range(200, 500) or (status == 0 and len(value) > HEAD_BYTES)


# REST

TASK_FIELDS: dict[str, Callable[[str], object]] = {
    "job_name": str,
    "args": str,
    "metadata": lambda value: {"k": value},
    "env": lambda value: {"K": value},
    "after": lambda value: [value],
    "start_after": str,
    "secrets": lambda value: [{"name": value, "as": "file"}],
    "slurm": lambda value: {"partition": value, value: "x"},
    "notify": lambda value: [{"url": f"https://example.org/{value}", "on": [value]}],
    "dataset_specs": lambda value: [{"name": "d", "source": value, "mount_path": value}],
}
"""Only JSON may have lone surrogates. `grpc_text_channels.py` has every field of every request."""
OTHER_BODIES = [
    (b"/v1/experiments", "name"),
    (b"/v1/jupyter/services", "workspace"),
    (b"/v1/bookings", "user_id"),
    (b"/v1/notifications/test", "url"),
    (b"/v1/keys", "expires_at"),
    (b"/v1/sweeps", "parameters"),
]
HEADERS = [
    b"X-API-Key", b"Idempotency-Key", b"X-Forwarded-For", b"traceparent", b"x-request-id",
    b"User-Agent", b"Content-Type", b"Cookie", b"Sec-WebSocket-Protocol", b"Origin", b"Host",
]  # fmt: skip
TARGETS = [
    b"/v1/tasks/%s", b"/v1/tasks/%s/logs", b"/v1/tasks/x/outputs/%s", b"/v1/tasks?status=%s",
    b"/v1/tasks?%s=1", b"/v1/audit?user_id=%s", b"/v1/audit?target=%s", b"/v1/experiments/%s",
    b"/v1/tasks?sweep_id=%s", b"/v1/tasks/x/outputs?folder=%s", b"/v1/sweeps/%s",
    b"/v1/sweeps?user_id=%s", b"/v1/sweeps/%s/best?metric=a", b"/v1/sweeps/x/best?metric=%s",
    b"/v1/secrets?user_id=%s", b"/v1/environments?user_id=%s", b"/v1/notifications?state=%s",
    b"/v1/notifications/secret?url=%s", b"/v1/usage?since=%s", b"/v1/tasks/x/logs/search?q=%s",
    b"/v1/snapshots/%s", b"/v1/jupyter/services/%s", b"/jupyter/%s/", b"/ws?task_id=%s", b"/%s",
    b"%s",
]  # fmt: skip
VERBS = [
    (b"PATCH", b"/v1/tasks/%s"),
    (b"POST", b"/v1/tasks/x/ports/%s"),
    (b"POST", b"/v1/sweeps/%s/cancel"),
    (b"PUT", b"/v1/secrets/%s"),
    (b"DELETE", b"/v1/environments/%s"),
]
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


def other_body(path: bytes, name: str) -> Channel:
    def send(server: Server, _: Marks, value: str) -> None:
        # More GPUs than any machine has, so that nothing starts.
        body = json.dumps({"name": "a", "gpu": 2**31 - 1, name: value}).encode()
        assert is_right(ask(server.http, b"POST", path, JSON, body).status, value)

    return send


def sweep(fields: Callable[[str], dict[str, object]]) -> Channel:
    def send(server: Server, marks: Marks, value: str) -> None:
        task = {"job_name": "a", "command": [*marks.command(), "{p}"]}
        body = {"task": task, "parameters": {"p": {"values": [1]}}, **fields(value)}
        data = json.dumps(body).encode()
        assert is_right(ask(server.http, b"POST", b"/v1/sweeps", JSON, data).status, value)

    return send


def verb(method: bytes, path: bytes) -> Channel:
    """A change of the task or sweep that a text names, with the text as a field too."""

    def send(server: Server, _: Marks, value: str) -> None:
        body = json.dumps({"start_after": value, "metadata": {"k": value}}).encode()
        sent = path % quote(raw(value)).encode()
        assert is_right(ask(server.http, method, sent, JSON, body).status, value)

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


# Files of a live task

RECORDS = ["claim", "started", "exit.tmp", "usage", "log.00000000000000000000", "log.x"]
"""The shim names `exit.tmp` `exit` when the command has ended."""


def run_file(name: str) -> Channel:
    """A task's first attempt writes the text into a file of its run folder, as it is and as values
    of a record's lines."""

    def send(server: Server, marks: Marks, value: str) -> None:
        text = server.data_dir.parent / f"text-{uuid.uuid4()}"
        text.write_bytes(b"code=0\nat_ms=5\npid=%b\nerror=%b\n%b" % ((raw(value),) * 3))
        command = marks.command()
        command[2] += (
            f".$FETCHML_ATTEMPT; [ $FETCHML_ATTEMPT = 1 ] || exit 0; "
            f"cd $FETCHML_WORKSPACE/../run; rm -f {name}; cat {text} > {name}"
        )
        assert submit(server.http, {"job_name": "a", "command": command}).status == 201

    return send


REST_CHANNELS: list[Channel] = [
    *(task_field(name, wrap) for name, wrap in TASK_FIELDS.items()),
    *(other_body(path, name) for path, name in OTHER_BODIES),
    *map(header, HEADERS),
    *map(target, TARGETS),
    *(verb(method, path) for method, path in VERBS),
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
    *map(run_file, RECORDS),
]
