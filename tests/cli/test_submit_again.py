"""A submit without a reply is retried, and still creates one task."""

import json
import signal
import uuid
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from fetchml.v1 import task_pb2, task_pb2_grpc
from tests.support.cli_server import SECONDS, Server, run


class Forgetful(task_pb2_grpc.TaskServiceServicer):
    """Drops the connection before it replies, for the first `times` requests."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.keys: list[str] = []

    def CreateTask(self, request: Any, context: Any) -> Any:  # noqa: N802  # the RPC's name
        self.keys.append(request.idempotency_key)
        if len(self.keys) <= self._times:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return task_pb2.Task(id="the-task")


@pytest.fixture
def forgetful() -> Iterator[tuple[Forgetful, str]]:
    servicer = Forgetful(times=2)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    task_pb2_grpc.add_TaskServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_every_try_has_the_same_key(forgetful: tuple[Forgetful, str]) -> None:
    servicer, address = forgetful
    submitted = run("submit", "--", "true", FETCHML_SERVER=address, FETCHML_API_KEY="a")
    assert submitted.succeeded() == "the-task"
    first, *others = servicer.keys
    assert others == [first, first]
    assert uuid.UUID(first).version == 4
    assert submitted.err.count("retrying, the task is created only once") == 2

    run("submit", "--", "true", FETCHML_SERVER=address, FETCHML_API_KEY="a").succeeded()
    assert servicer.keys[-1] != first, "another submit is another task"
    own = ("--idempotency-key", "mine")
    run("submit", *own, "--", "true", FETCHML_SERVER=address, FETCHML_API_KEY="a").succeeded()
    assert servicer.keys[-1] == "mine"


def test_a_server_that_comes_back(own_server: Server) -> None:
    own_server.start()
    own_server.stop(signal.SIGKILL)
    submitting = own_server.begin("submit", "--json", "--", "true")
    assert submitting.stderr is not None
    try:
        assert "retrying" in submitting.stderr.readline()
        own_server.start()
        out, _ = submitting.communicate(timeout=SECONDS)
    finally:
        submitting.kill()
    assert submitting.returncode == 0
    [task] = own_server.json("ls")["tasks"]
    assert task["id"] == json.loads(out)["id"]
