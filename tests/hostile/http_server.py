"""A real server process attacked over HTTP, and its memory use."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from testbed.server_processes import kill_tasks, resident_bytes
from tests.support.cli_server import SECONDS, Server

KEY = "an-admin-key-for-tests"
MIB = 1 << 20


class Target:
    def __init__(self, server: Server) -> None:
        self.server = server
        host, _, port = server.http.rpartition(":")
        self.address = (host, int(port))

    def rss(self) -> int:
        """Bytes of memory that the server has now."""
        return resident_bytes(self.server.pid)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(self.address, SECONDS, source_address=(source, 0))

    def ask(
        self, method: str, path: str, body: object = None, source: str = "127.0.0.1"
    ) -> tuple[int, Any]:
        """Status and JSON, over a connection of its own."""
        connection = http.client.HTTPConnection(
            *self.address, timeout=SECONDS, source_address=(source, 0)
        )
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        with closing(connection):
            sent = None if body is None else json.dumps(body).encode()
            connection.request(method, path, sent, headers)
            reply = connection.getresponse()
            text = reply.read()
        return reply.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode()

    def metric(self, sample: str) -> float:
        """The value of one sample of /metrics, as it is written there."""
        _, text = self.ask("GET", "/metrics")
        (line,) = (line for line in text.splitlines() if line.startswith(f"{sample} "))
        return float(line.split()[-1])


@contextmanager
def target(folder: Path, **variables: str) -> Iterator[Target]:
    """A server whose requests are not limited by rate. `variables`: its environment."""
    settings = {
        "FETCHML_ADMIN_KEY": KEY,
        "FETCHML_RATE_LIMIT_ENABLED": "false",
        "FETCHML_HISTORY_MIN_FREE_MB": "0",
        **variables,
    }
    server = Server(folder / "data", **settings).keep_ports().start()
    try:
        yield Target(server)
    finally:
        server.stop()
        kill_tasks(server.data_dir.glob("tasks/*"))


def replies_of(client: socket.socket) -> list[tuple[int, dict[str, str]]]:
    """Status and JSON of each reply that comes before the server closes."""
    received = b""
    with suppress(ConnectionResetError):  # It did not read all that was sent.
        while data := client.recv(65536):
            received += data
    replies = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        (size,) = re.findall(rb"(?im)^content-length: *(\d+)", head)
        body, received = rest[: int(size)], rest[int(size) :]
        replies.append((int(head.split()[1]), json.loads(body or b"{}")))
    return replies


def reply_of(client: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and JSON of the one reply that comes before the server closes."""
    (reply,) = replies_of(client)
    return reply
