"""HTTP and gRPC requests of any bytes, and the commands that the server ran for them."""

import json
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from testbed.http2 import Connection, message
from tests.support.cli_server import Server
from tests.support.waiting import SECONDS

ADMIN_KEY = "an-admin-key-for-tests"
SERVER_SETTINGS = {
    "FETCHML_ADMIN_KEY": ADMIN_KEY,
    "FETCHML_HISTORY_MIN_FREE_MB": "0",
    "FETCHML_RATE_LIMIT_ENABLED": "false",
    "FETCHML_TRUSTED_PROXIES": "127.0.0.0/8",
}


class Answer(NamedTuple):
    status: int
    """0: the server closed the connection without an answer."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def exchange(address: str, request: bytes) -> Answer:
    """Send bytes and read until the reply is complete, or the server closes."""
    host, _, port = address.rpartition(":")
    received = bytearray()
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        try:
            connection.sendall(request)
            while not _is_complete(received) and (data := connection.recv(1 << 16)):
                received += data
        except ConnectionError:
            pass  # a refused body need not be taken to its end
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return Answer(int(status[0]) if status else 0, body)


def _is_complete(received: bytearray) -> bool:
    """Return whether the reply is complete by its length: a proxy may close a second later."""
    head, end, body = bytes(received).partition(b"\r\n\r\n")
    length = re.search(rb"\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
    return bool(end and length and len(body) >= int(length[1]) and not head[9:].startswith(b"1"))


def ask(
    address: str,
    method: bytes,
    target: bytes,
    headers: Mapping[bytes, bytes] | None = None,
    body: bytes = b"",
    *,
    key: str | None = ADMIN_KEY,
) -> Answer:
    """Target, header values and body are sent as they are."""
    sent = {b"Host": b"x", b"Connection": b"close", b"Content-Length": b"%d" % len(body)}
    if key is not None:
        sent[b"X-API-Key"] = key.encode()
    sent |= headers or {}
    lines = [b"%s %s HTTP/1.1" % (method, target), *(b"%s: %s" % pair for pair in sent.items())]
    return exchange(address, b"\r\n".join(lines) + b"\r\n\r\n" + body)


def submit(
    address: str, body: Mapping[str, Any] | bytes, headers: Mapping[bytes, bytes] | None = None
) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {b"Content-Type": b"application/json", **(headers or {})}
    return ask(address, b"POST", b"/v1/tasks", sent, data)


def create_task_with(
    server: Server, metadata: Iterable[tuple[bytes, bytes]], request: bytes
) -> str:
    """Call CreateTask with metadata of any bytes; returns how the call ended."""
    with Connection(server.grpc) as connection:
        stream = connection.call("fetchml.v1.TaskService/CreateTask", None, *metadata)
        connection.send(stream, message(request), last=True)
        return connection.end_of(stream, SECONDS)


class Marks:
    """Each command that a test sends leaves its own mark when it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._given = 0

    def command(self) -> list[str]:
        self._given += 1
        return ["sh", "-c", f"echo m{self._given} >> {self._file}"]

    def ran(self) -> list[str]:
        return self._file.read_text().split() if self._file.exists() else []

    @staticmethod
    def recorded(tasks: Iterable[Mapping[str, Any]]) -> set[str]:
        return {task["command"][2].split()[1] for task in tasks}


def all_tasks(server: Server) -> list[dict[str, Any]]:
    answer = ask(server.http, b"GET", b"/v1/tasks?limit=1000&view=full")
    assert answer.status == 200, answer
    tasks: list[dict[str, Any]] = answer.json["tasks"]
    return tasks


def assert_no_ghosts(server: Server, marks: Marks) -> None:
    """Every command that ran has a record, and ran once."""
    ran = marks.ran()
    assert len(ran) == len(set(ran)), "a command ran twice"
    assert set(ran) <= Marks.recorded(all_tasks(server)), "a command ran without a record"


def assert_log_is_safe(server: Server) -> None:
    """Each line is an entry with its time, or belongs to a traceback; none holds what steers."""
    for line in server.log.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line or line.startswith(("20", "    ")), line
