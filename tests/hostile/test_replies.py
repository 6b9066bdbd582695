"""Unread replies of a real server use bounded memory, and their connections end."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hostile.http_server import KEY, MIB, Target, target
from tests.support.front import EDGE

pytestmark = [pytest.mark.slow, pytest.mark.fronts(EDGE)]

AT_ONCE = 12
"""Three times as many lists as fit into the budget."""
REFUSED = 8
MOST_CLIENTS = 60
"""Buffers of the kernel and of a proxy take some of what the first ones are sent."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Target]:
    """With 100 waiting tasks of 250 KB each. It has started again since, so that its store has
    nothing to do."""
    variables = {"FETCHML_TASKS_MAX_RUNNING": "1", "FETCHML_QUOTAS_USER_QUEUED_MB": "0"}
    with target(tmp_path, **variables) as one:
        blocker = {"job_name": "b", "command": ["sleep", "600"]}
        blocking = one.ask("POST", "/v1/tasks", blocker)[1]["id"]
        metadata = {"notes": "\N{ROCKET}" * 62_500}  # as many characters as are allowed, nearly
        for _ in range(100):
            status, made = one.ask("POST", "/v1/tasks", {"job_name": "a", "metadata": metadata})
            assert status == 201, made
        assert one.server.stop() == 0
        one.server.start()
        yield one
        one.ask("DELETE", f"/v1/tasks/{blocking}")


def ask_and_read_nothing(server: Target, path: str) -> socket.socket:
    client = server.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\r\n".encode())
    return client


def test_unread_replies_use_bounded_memory(server: Target, clients: ExitStack) -> None:
    status, error = server.ask("GET", "/v1/tasks?limit=1000&view=full")
    assert (status, error["code"]) == (400, "BAD_REQUEST")
    assert error["error"].startswith("limit: this page takes more than 16 MiB: ask for at most ")
    most = int(error["error"].split("at most ")[1].split()[0])
    assert 40 < most < 80
    path = f"/v1/tasks?limit={most}&view=full"
    status, page = server.ask("GET", path)
    assert (status, len(page["tasks"]), page["total"]) == (200, most, 101)
    status, page = server.ask("GET", "/v1/tasks?limit=1000")  # without the metadata it fits
    assert (status, len(page["tasks"])) == (200, 101)
    assert server.ask("HEAD", path) == (200, "")
    before = server.rss()
    asked, refused = 0, list[socket.socket]()
    while len(refused) < REFUSED:
        assert asked < MOST_CLIENTS, refused
        more = [clients.enter_context(ask_and_read_nothing(server, path)) for _ in range(AT_ONCE)]
        refused += [each for each in more if each.recv(12, socket.MSG_PEEK).endswith(b" 429")]
        asked += AT_ONCE
    held = 'fetchml_http_held_bytes{of="replies"}'
    assert server.metric('fetchml_http_held_refused_total{of="replies"}') >= REFUSED
    assert 16 * MIB < server.metric(held) <= 64 * MIB
    # Each is held once: a budget of 64 MiB, and the rest.
    assert server.rss() - before < 96 * MIB
    assert server.ask("GET", "/v1/tasks?limit=1")[0] == 200
    for each in refused:
        reply = http.client.HTTPResponse(each)
        reply.begin()
        assert json.loads(reply.read())["code"] == "RATE_LIMITED"
