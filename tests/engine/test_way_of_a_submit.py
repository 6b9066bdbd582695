"""The way of a submit stays short enough to be read: docs/architecture.md lists it.

A function is on the way if it is called between a request and the opening of its task's gate, and

- is outside the core, and calls a further function of the package; or
- is in the core, and is called from outside of it: a decision.

Not counted: functions that call no further one, what the core calls within a decision, generated
code, and housekeeping that falls into the moment (a function counts if it ran for each of three
submits, and of more if the way is too long or not as the page has it: on a busy machine a submit
takes long enough for much housekeeping). Run this file with `-s` to print the lists.
"""

import http.client
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from fetchml.files.layout import ATTEMPTS, DATASETS, TASKS
from fetchml.v1 import task_pb2
from fetchml.v1.task_pb2_grpc import TaskServiceStub
from tests.support.cli_server import SECONDS, Server

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
MOST_UNTIL_DURABLE = 28
MOST_FUNCTIONS = 55
MOST_FILES = 24
SUBMITS = 3
MOST_SUBMITS = 15
KEY = "an-admin-key-for-tests"

Submit = Callable[[], str]
"""Returns the id of the new task."""
Way = dict[str, bool]
"""Functions in the order of their first calls; true if before the task was durable."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(
        tmp_path / "data",
        program=[sys.executable, "-m", "tests.support.recorded_server"],
        CALLS_FILE=str(tmp_path / "calls.json"),
        FETCHML_ADMIN_KEY=KEY,
        FETCHML_GPU_SLOTS="1",
        FETCHML_HISTORY_MIN_FREE_MB="0",
    )
    made.start()
    yield made
    assert made.stop() == 0


@contextmanager
def over_rest(server: Server) -> Iterator[Submit]:
    body = json.dumps({"job_name": "way", "command": ["true"]})
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}

    def submit() -> str:
        connection.request("POST", "/v1/tasks", body, headers)
        with connection.getresponse() as reply:
            return str(json.load(reply)["id"])

    with closing(http.client.HTTPConnection(server.http)) as connection:
        yield submit


@contextmanager
def over_grpc(server: Server) -> Iterator[Submit]:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = TaskServiceStub(channel)
        request = task_pb2.CreateTaskRequest(job_name="way", command=["true"])
        yield lambda: str(stub.CreateTask(request, metadata=[("x-api-key", KEY)]).id)


def recorded(server: Server, submit: Submit, file: Path) -> dict[str, Any]:
    """The calls of one submit; on return nothing of its task is left."""
    server.process.send_signal(signal.SIGUSR1)
    task_id = submit()
    until(server, file.exists)
    record: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    # The launcher removes this folder last: then nothing is left to be done for the task.
    datasets = server.data_dir / TASKS / task_id / ATTEMPTS / "1" / DATASETS
    until(server, lambda: not datasets.exists())
    return record


def until(server: Server, holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, server.log
        time.sleep(0.02)


def way_of(record: dict[str, Any]) -> Way:
    calls = record["calls"]
    callers = {caller for _, caller in calls}
    way = Way()
    for number, (name, caller) in enumerate(calls):
        is_decision = _in_core(name) and caller is not None and not _in_core(caller)
        if is_decision or (not _in_core(name) and name in callers):
            way.setdefault(name, number < record["until_durable"])
    return way


def files_of(way: Way) -> set[str]:
    return {name.partition(":")[0] for name in way}


def _in_core(name: str) -> bool:
    return name.startswith("core/")


@pytest.mark.parametrize("transport", [over_rest, over_grpc])
def test_the_way_of_a_submit_is_short(
    server: Server,
    tmp_path: Path,
    transport: Callable[[Server], AbstractContextManager[Submit]],
) -> None:
    file = tmp_path / "calls.json"
    described = PAGE.read_text().partition("## The way of a submit")[2].partition("\n## ")[0]
    described_names = set(re.findall(r"[A-Za-z_]+(?=`)", described))

    def undescribed(way: Way) -> list[str]:
        names = {name: name.split(":")[1].rpartition(".")[2] for name in way}
        return [name for name, last in names.items() if last not in described_names]

    def is_too_long(way: Way) -> bool:
        return (
            sum(way.values()) > MOST_UNTIL_DURABLE
            or len(way) > MOST_FUNCTIONS
            or len(files_of(way)) > MOST_FILES
            or bool(undescribed(way))
        )

    with transport(server) as submit:
        recorded(server, submit, file)  # The first one makes a connection and fills caches.
        way = way_of(recorded(server, submit, file))
        for number in range(1, MOST_SUBMITS):
            if number >= SUBMITS and not is_too_long(way):
                break
            other = way_of(recorded(server, submit, file))
            way = {name: early and other[name] for name, early in way.items() if name in other}
    files = files_of(way)
    for number, (name, early) in enumerate(way.items(), 1):
        print(f"{number:3} {'until durable' if early else '             '} {name}")
    print(f"{sum(way.values())} until durable, {len(way)} in all, {len(files)} files")
    assert undescribed(way) == []
    assert sum(way.values()) <= MOST_UNTIL_DURABLE
    assert len(way) <= MOST_FUNCTIONS
    assert len(files) <= MOST_FILES
