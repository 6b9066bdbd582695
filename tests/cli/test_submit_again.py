"""A submit without a reply is retried, and still creates one task."""

import json
import signal
import uuid
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from fetchml.v1 import task_pb2, task_pb2_grpc
from tests.support.cli_server import SECONDS, Server, run


class Forgetful(task_pb2_grpc.TaskServiceServicer):
    """Fails the first requests, each in another way."""

    FAILURES = (
        (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Too late"),
        (grpc.StatusCode.INTERNAL, "RST_STREAM"),
    )

    def __init__(self) -> None:
        self.keys: list[str] = []

    def CreateTask(self, request: Any, context: Any) -> Any:  # noqa: N802  # the RPC's name
        self.keys.append(request.idempotency_key)
        if len(self.keys) <= len(self.FAILURES):
            context.abort(*self.FAILURES[len(self.keys) - 1])
        return task_pb2.Task(id="the-task")


@pytest.fixture
def forgetful() -> Iterator[tuple[Forgetful, str]]:
    servicer = Forgetful()
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
    assert others == [first, first, first]
    assert uuid.UUID(first).version == 4
    assert submitted.err == f"Cannot reach a server at {address}; retrying\n"

    run("submit", "--", "true", FETCHML_SERVER=address, FETCHML_API_KEY="a").succeeded()
    assert servicer.keys[-1] != first, "another submit is another task"
    own = ("--idempotency-key", "mine")
    run("submit", *own, "--", "true", FETCHML_SERVER=address, FETCHML_API_KEY="a").succeeded()
    assert servicer.keys[-1] == "mine"


def test_a_server_that_comes_back(own_server: Server, tmp_path: Path) -> None:
    own_server.start()
    own_server.stop(signal.SIGKILL)
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print('hello')")
    folder = ("--dir", str(code), "--json", "--", "python3", "train.py")
    commands = (("submit", *folder), ("sweep", "create", "--param", "x=1", *folder))
    begun = [own_server.begin(*command) for command in commands]
    try:
        for each in begun:
            assert each.stderr is not None
            assert "; retrying" in each.stderr.readline()
        own_server.start()
        ended = [each.communicate(timeout=SECONDS) for each in begun]
    finally:
        for each in begun:
            each.terminate()
    assert [each.returncode for each in begun] == [0, 0], ended
    assert not [said for _, said in ended if "retrying" in said], "one line, however long it takes"
    [of_sweep, task] = sorted(
        own_server.json("ls")["tasks"], key=lambda task: "sweep_id" not in task
    )
    assert task["id"] == json.loads(ended[0][0])["id"]
    assert of_sweep["sweep_id"] == json.loads(ended[1][0])["id"]
