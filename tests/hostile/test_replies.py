"""Unread replies of a real server use bounded memory, and their connections end."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.hostile.http_server import KEY, MIB, Target, target
from tests.support.front import EDGE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fronts(EDGE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Target]:
    """With 300 waiting tasks of 250 KB each."""
    variables = {"FETCHML_TASKS_MAX_RUNNING": "1", "FETCHML_QUOTAS_USER_QUEUED_MB": "0"}
    with target(tmp_path, **variables) as one:
        blocker = {"job_name": "b", "command": ["sleep", "600"]}
        blocking = one.ask("POST", "/v1/tasks", blocker)[1]["id"]
        metadata = {"notes": "\N{ROCKET}" * 62_500}  # as many characters as are allowed, nearly
        for _ in range(300):
            status, made = one.ask("POST", "/v1/tasks", {"job_name": "a", "metadata": metadata})
            assert status == 201, made
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
    status, page = server.ask("GET", f"/v1/tasks?limit={most}&view=full")
    assert (status, len(page["tasks"]), page["total"]) == (200, most, 301)
    status, page = server.ask("GET", "/v1/tasks?limit=1000")  # without the metadata it fits
    assert (status, len(page["tasks"])) == (200, 301)
    assert server.ask("HEAD", f"/v1/tasks?limit={most}&view=full") == (200, "")
    # What lists take that are read, as many at once as the budget lets through, is not growth.
    with ThreadPoolExecutor(4) as pool:
        path = f"/v1/tasks?limit={most}&view=full"
        assert {status for status, _ in pool.map(partial(server.ask, "GET"), [path] * 8)} <= {
            200,
            429,
        }
    before = server.rss()
    for _ in range(12):
        clients.enter_context(ask_and_read_nothing(server, f"/v1/tasks?limit={most}&view=full"))
    held = 'fetchml_http_held_bytes{of="replies"}'
    refused = 'fetchml_http_held_refused_total{of="replies"}'
    wait_until(lambda: server.metric(refused) >= 8, "lists beyond the budget are refused")
    assert server.metric(held) > 16 * MIB
    assert server.metric(held) <= 64 * MIB
    # Each is held once: a budget of 64 MiB, and as much for the lists that were made and refused.
    assert server.rss() - before < 128 * MIB
    assert server.ask("GET", "/v1/tasks?limit=1")[0] == 200
    status, error = server.ask("GET", f"/v1/tasks?limit={most}&view=full")
    assert (status, error["code"]) == (429, "RATE_LIMITED")
