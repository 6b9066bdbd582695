"""Replies of a newer server: its enumerations may have values that this release does not have."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from fetchml.client import AsyncClient, Client, Task, ended, enum_name, status_name, to_json
from fetchml.v1.task_pb2 import Dependency
from tests.hostile.hostile_replies import NEWER_VALUE, hostile_server
from tests.hostile.test_terminals import LISTS, READS, variables, words
from tests.support.cli_server import run

pytestmark = pytest.mark.slow

ID = "0198c0de-0000-7000-8000-00000000abcd"
UNKNOWN = f"UNKNOWN_{NEWER_VALUE}"
WITH_ENUMERATIONS = {"ls", "experiment ls", "jupyter ls", "notifications ls", f"show {ID}"}


@pytest.fixture(scope="module")
def newer() -> Iterator[str]:
    with hostile_server(newer=True) as address:
        yield address


def test_unknown_value_has_a_name() -> None:
    task = Task()
    task.status = 7  # type: ignore[assignment]
    assert status_name(task) == enum_name(task, "status") == "UNKNOWN_7"
    assert to_json(task) == {"status": "UNKNOWN_7"}
    assert not ended(task)
    assert enum_name(Task(status=Task.failed), "status") == "failed"
    assert enum_name(Dependency(), "condition") == Dependency.Condition.Name(0)
    with pytest.raises(ValueError, match="job_name is not an enumeration"):
        enum_name(task, "job_name")


def test_clients_return_it(newer: str) -> None:
    with Client(newer, "key") as client:
        assert status_name(client.get(ID)) == UNKNOWN
        assert [status_name(task) for task in client.list()] == [UNKNOWN]

    async def get() -> Task:
        async with AsyncClient(newer, "key") as client:
            return await client.get(ID)

    assert to_json(asyncio.run(get()))["status"] == UNKNOWN


@pytest.mark.parametrize("command", [*LISTS, *(each for each in READS if "watch" not in each)])
def test_commands_show_it(newer: str, command: str) -> None:
    answering = variables(newer)
    done = run(*words(command, answering), **answering)
    assert "Traceback" not in done.err
    assert done.code == 0, done.err
    if command in WITH_ENUMERATIONS:
        assert UNKNOWN in done.out
    if command in LISTS:
        json.loads(run(*words(command, answering), "-o", "json", **answering).succeeded())
