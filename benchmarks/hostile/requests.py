"""Hostile requests over HTTP. Each function prepares a server, and gives the attack."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.client import Client, key_of
from benchmarks.hostile.attack import Attack, Outcome
from benchmarks.processes import KEY, Server
from benchmarks.raw_clients import connect, push, status_of
from benchmarks.waiting import until
from fetchml.core.requests.submission import MAX_ARGUMENT_CHARACTERS, MAX_BATCH

HEADS = 500
LISTS = 12
LIST_TASKS = 60
"""As many as a page may have."""
LARGE: dict[str, object] = {"job_name": "large", "metadata": {"notes": "\N{ROCKET}" * 62_500}}
"""250 KB."""
QUEUED = 400
LOGINS = 200
SOCKETS = 15
ANSWER_SECONDS = 30
HOLD_SECONDS = 2
JUPYTER = {
    "jupyter_command": f"{sys.executable} {Path(__file__).parents[1] / 'bare_jupyter.py'}",
    "tasks_grace_seconds": "1",
}
"""Settings with which a hostile program takes JupyterLab's place."""


@contextmanager
def unfinished_heads(server: Server) -> Iterator[Attack]:
    line = b"X-%06d: " + b"a" * 8000 + b"\r\n"
    head = b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"".join(line % n for n in range(125))

    def attack() -> Outcome:
        with ExitStack() as clients:
            for _ in range(HEADS):
                push(clients.enter_context(connect(server.http)), head)
        return Outcome()

    yield attack


@contextmanager
def unread_lists(server: Server) -> Iterator[Attack]:
    """As many large tasks wait as one user may have."""
    with Client(server.http) as client, client.blocked_queue():
        waiting = 0
        while _status(server, "POST", "/v1/tasks", LARGE) == 201:
            waiting += 1
        path = f"/v1/tasks?limit={LIST_TASKS}&view=full"
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\r\n".encode()

        def attack() -> Outcome:
            with ExitStack() as clients:
                opened = [clients.enter_context(connect(server.http)) for _ in range(LISTS)]
                for each in opened:
                    push(each, request)
                statuses = [status_of(each, ANSWER_SECONDS) for each in opened]
                time.sleep(HOLD_SECONDS)
            return Outcome(
                f"{waiting} tasks accepted, {statuses.count(429)} lists answered with 429"
            )

        yield attack


@contextmanager
def queued_tasks(server: Server) -> Iterator[Attack]:
    """400 large tasks of one user. Another user's task has a place too."""
    key = key_of(server.http, "mallory")
    other = key_of(server.http, "bob")
    with Client(server.http) as client, client.blocked_queue():

        def attack() -> Outcome:
            statuses = [_status(server, "POST", "/v1/tasks", LARGE, key) for _ in range(QUEUED)]
            others = _status(server, "POST", "/v1/tasks", {"job_name": "small"}, other)
            remark = (
                f"{statuses.count(201)} accepted, {statuses.count(429)} answered with 429; "
                f"another user's submit: {others}"
            )
            return Outcome(remark, kept=others == 201)

        yield attack


@contextmanager
def large_sweeps(server: Server) -> Iterator[Attack]:
    """Of as many tasks as one may have, one after the other. The tasks wait."""
    sweep: dict[str, object] = {
        "task": {"job_name": "waiting", "args": "--seed {seed}"},
        "parameters": {"seed": {"range": [1, MAX_BATCH]}},
    }
    with Client(server.http) as client, client.blocked_queue():

        def attack() -> Outcome:
            assert client.ask("POST", "/v1/sweeps", sweep)["total"] == MAX_BATCH
            return Outcome()

        yield attack


@contextmanager
def large_list(server: Server) -> Iterator[Attack]:
    with Client(server.http) as client, client.blocked_queue():
        for _ in range(LIST_TASKS):
            client.ask("POST", "/v1/tasks", LARGE)

        def attack() -> Outcome:
            client.ask("GET", f"/v1/tasks?limit={LIST_TASKS}&view=full")
            return Outcome()

        yield attack


@contextmanager
def quoted_emoji(server: Server) -> Iterator[Attack]:
    args = '"' + "\N{GRINNING FACE}" * (MAX_ARGUMENT_CHARACTERS - 4)
    yield _refused(server, {"job_name": "a", "args": args})


@contextmanager
def long_mount_paths(server: Server) -> Iterator[Attack]:
    specs = [
        {"name": "a", "source": "http://h/x", "mount_path": f"/m{n % 59}" + "/x" * 2000}
        for n in range(60)
    ]
    yield _refused(server, {"job_name": "a", "dataset_specs": specs})


def _refused(server: Server, task: dict[str, object]) -> Attack:
    def attack() -> Outcome:
        status = _status(server, "POST", "/v1/tasks", task)
        assert status == 422, status
        return Outcome()

    return attack


@contextmanager
def slow_logins(server: Server) -> Iterator[Attack]:
    with _jupyter(server) as service:
        request = (
            f"POST /jupyter/{service['id']}/login HTTP/1.1\r\nHost: a\r\n"
            "Content-Length: 99\r\n\r\na"
        ).encode()

        def attack() -> Outcome:
            with ExitStack() as clients:
                opened = [clients.enter_context(connect(server.http)) for _ in range(LOGINS)]
                for each in opened:
                    push(each, request)
                owner = f"/jupyter/{service['id']}/lab?token={service['token']}"
                status = _status(server, "GET", owner)
                assert status == 200, status
                time.sleep(HOLD_SECONDS)
                statuses = [status_of(each, ANSWER_SECONDS) for each in opened]
            return Outcome(f"the owner is served; {statuses.count(429)} logins answered with 429")

        yield attack


@contextmanager
def unread_messages(server: Server) -> Iterator[Attack]:
    with _jupyter(server) as service:
        request = (
            f"GET /jupyter/{service['id']}/api/kernels/1/channels HTTP/1.1\r\nHost: a\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: token {service['token']}\r\n\r\n"
        ).encode()

        def attack() -> Outcome:
            with ExitStack() as clients:
                opened = [clients.enter_context(connect(server.http)) for _ in range(SOCKETS)]
                for each in opened:
                    push(each, request)
                statuses = {status_of(each, ANSWER_SECONDS) for each in opened}
                assert statuses == {101}, statuses
                time.sleep(HOLD_SECONDS)
            return Outcome()

        yield attack


@contextmanager
def _jupyter(server: Server) -> Iterator[dict[str, Any]]:
    """A running service."""
    with Client(server.http) as client:
        service = client.ask("POST", "/v1/jupyter/services", {"name": "work"})
        path = f"/v1/jupyter/services/{service['id']}"
        until(lambda: client.ask("GET", path), lambda shown: shown["status"] == "running")
        try:
            yield service
        finally:
            client.ask("DELETE", path)
            until(lambda: client.ask("GET", f"{path}?view=full"), lambda shown: "ended_at" in shown)


def _status(
    server: Server,
    method: str,
    path: str,
    body: dict[str, object] | None = None,
    key: str = KEY,
) -> int:
    with closing(HTTPConnection(server.http)) as connection:
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        reply.read()
    return reply.status
