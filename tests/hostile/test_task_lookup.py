"""In private mode another user's task is looked up like an id that no task has.

A reply that takes another way takes another time, and so reveals that the task exists. These tests
count the statements that each operation makes the database run, rather than measure time.
"""

import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from fetchml.adapters.duckdb import maintenance
from fetchml.adapters.duckdb.database import Database
from fetchml.core.requests.access import ExecRequest
from fetchml.core.requests.logs import LogRange, LogSearch
from fetchml.errors import NotFound, ValidationFailed
from fetchml.ports.store import TaskQuery
from fetchml.system.ids import IdSequence
from tests.snapshots.box import upload
from tests.support.archives import file
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended, running
from tests.support.stores import numbered, store_in

UNKNOWN = IdSequence().next(1)
SLEEP = {"job_name": "sleep", "command": ["sleep", "1000"]}

Operation = Callable[[Box, str], Awaitable[object]]


class Statements(list[tuple[str, str]]):
    """The statements of the store's readers, with their parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cursor, log = Database.cursor, self

        class Cursor:
            def __init__(self, database: Database) -> None:
                self._cursor = cursor(database)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._cursor, name)

            def execute(self, statement: str, parameters: object = None) -> Any:
                if threading.current_thread().name.startswith(("store-reader", "store-slow")):
                    log.append((statement, str(parameters)))
                return self._cursor.execute(statement, parameters)

        def logged(database: Database) -> Cursor:
            return Cursor(database)

        monkeypatch.setattr(Database, "cursor", logged)

    async def of(self, operation: Awaitable[object], task_id: str) -> list[tuple[str, str]]:
        """Return what a refused operation runs, with `ID` for the task's id, and its refusal."""
        self.clear()
        with pytest.raises((NotFound, ValidationFailed)) as raised:
            await operation
        found = [*self, ("refusal", str(raised.value))]
        return [(statement, value.replace(task_id, "ID")) for statement, value in found]


async def first(stream: Any) -> object:
    async with aclosing(stream):
        return await anext(stream)


async def entered(context: Any) -> None:
    async with context:
        pass


def submit(box: Box, **fields: object) -> Awaitable[object]:
    return box.parts.engine.submissions.create_task(BOB, {"job_name": "mine", **fields})


OPERATIONS: dict[str, Operation] = {
    "get": lambda box, id_: box.parts.engine.tasks.get(BOB, id_),
    "cancel": lambda box, id_: box.parts.engine.changes.cancel(BOB, id_),
    "delete": lambda box, id_: box.parts.engine.changes.delete(BOB, id_),
    "update": lambda box, id_: box.parts.engine.changes.update(BOB, id_, {"priority": 1}),
    "retry": lambda box, id_: box.parts.engine.changes.retry(BOB, id_),
    "interrupt": lambda box, id_: box.parts.engine.changes.interrupt(BOB, id_),
    "explain": lambda box, id_: box.parts.engine.tasks.explain(BOB, id_),
    "usage": lambda box, id_: box.parts.engine.usage.of_task(BOB, id_),
    "logs": lambda box, id_: first(box.parts.engine.logs.read(BOB, id_)),
    "followed logs": lambda box, id_: first(box.parts.engine.logs.read(BOB, id_, follow=True)),
    "start of the log": lambda box, id_: box.parts.engine.logs.start(BOB, id_, LogRange()),
    "log's description": lambda box, id_: box.parts.engine.logs.info(BOB, id_, LogRange()),
    "search of the log": lambda box, id_: box.parts.engine.logs.search(BOB, id_, LogSearch("a")),
    "outputs": lambda box, id_: box.parts.engine.outputs.list(BOB, id_),
    "checkpoint": lambda box, id_: box.parts.engine.outputs.list(BOB, id_, "checkpoint"),
    "output": lambda box, id_: box.parts.engine.outputs.open(BOB, id_, "a"),
    "archive": lambda box, id_: entered(box.parts.engine.outputs.archive(BOB, id_, "tar")),
    "exec": lambda box, id_: entered(box.parts.access.exec(BOB, id_, ExecRequest(("true",)))),
    "port": lambda box, id_: entered(box.parts.access.connect(BOB, id_, 80)),
    "submit after it": lambda box, id_: submit(box, after=[id_]),
    "submit with its outputs": lambda box, id_: submit(box, inputs_from=[id_]),
    "submit with its checkpoint": lambda box, id_: submit(box, checkpoint_from=id_),
}
"""What a caller can ask of one task."""


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.slow
async def test_hidden_tasks_take_the_way_of_unknown_ids(
    box: Box, monkeypatch: pytest.MonkeyPatch, folded: bool
) -> None:
    statements = Statements(monkeypatch)
    monkeypatch.setattr(maintenance, "FOLD_S", 1e9)  # Only a reader that waits for it has it done.
    async with box.engine(private=True, max_running=1) as engine:
        deleted = (await engine.submissions.create_task(ALICE, {"job_name": "a"})).id
        completed = (await engine.submissions.create_task(ALICE, {"job_name": "a"})).id
        for each in (deleted, completed):
            await ended(engine, each)
        await engine.changes.delete(ALICE, deleted)
        runs = (await engine.submissions.create_task(ALICE, SLEEP)).id
        await running(engine, runs)
        # Nothing changes from here on: the only slot is taken.
        waits = (await engine.submissions.create_task(ALICE, {**SLEEP, "hold": True})).id
        service = await box.jupyter.start(ALICE, {"name": "notebook"})
        if folded:
            await engine.tasks.list(ADMIN, TaskQuery(text="a"))
        hers = {
            "deleted": deleted,
            "completed": completed,
            "runs": runs,
            "waits": waits,
            "service": service.id,
        }
        for name, operation in OPERATIONS.items():
            unknown = await statements.of(operation(box, UNKNOWN), UNKNOWN)
            lookups = [each for each in unknown if "ID" in each[1]]
            assert lookups, f"{name} looks nothing up"
            for kind, id_ in hers.items():
                found = await statements.of(operation(box, id_), id_)
                assert found == unknown, f"{name} of a task that {kind}"
        await engine.changes.cancel(ALICE, runs)


async def test_other_resources_are_looked_up_in_memory(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = Statements(monkeypatch)
    async with box.engine(private=True) as engine:
        experiment = (await box.experiments.create(ALICE, {"name": "e"})).id
        request = {"task": {**SLEEP, "hold": True}, "parameters": {"n": {"values": [1]}}}
        sweep = (await engine.sweeps.create(ALICE, request)).sweep.id
        service = (await box.jupyter.start(ALICE, {"name": "notebook"})).id
        snapshot = (await upload(box, file("file", b"a"))).id
        ways: list[tuple[str, Callable[[str], object]]] = [
            (experiment, lambda id_: box.experiments.get(BOB, id_)),
            (experiment, lambda id_: box.experiments.archive(BOB, id_)),
            (experiment, lambda id_: box.experiments.delete(BOB, id_)),
            (experiment, lambda id_: engine.results.list(BOB, id_)),
            (experiment, lambda id_: submit(box, experiment_id=id_)),
            (sweep, lambda id_: engine.sweeps.get(BOB, id_)),
            (sweep, lambda id_: engine.sweeps.cancel(BOB, id_)),
            (sweep, lambda id_: engine.sweeps.retry(BOB, id_)),
            (sweep, lambda id_: engine.ranking.best(BOB, id_, "loss")),
            (sweep, lambda id_: submit(box, after=[{"sweep_id": id_}])),
            (service, lambda id_: box.jupyter.get(BOB, id_)),
            (service, lambda id_: box.jupyter.stop(BOB, id_)),
            (snapshot, lambda id_: box.snapshots.get(BOB, id_)),
            (snapshot, lambda id_: box.snapshots.delete(BOB, id_)),
            (snapshot, lambda id_: box.snapshots.reads.list(BOB, id_)),
            (snapshot, lambda id_: box.snapshots.reads.open(BOB, id_, "file")),
            (snapshot, lambda id_: submit(box, snapshot_id=id_)),
        ]
        for hers, way in ways:
            none = "f" * len(hers)
            found = [await statements.of(called(way, id_), id_) for id_ in (hers, none)]
            assert found[0] == found[1]
            assert len(found[0]) == 1, "only the refusal"


async def called(way: Callable[[str], object], id_: str) -> None:
    """Call an operation, and await what is to be awaited."""
    made = way(id_)
    if isinstance(made, Awaitable):
        await made


async def test_store_returns_another_users_task_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = Statements(monkeypatch)
    monkeypatch.setattr(maintenance, "FOLD_S", 1e9)
    async with store_in(tmp_path) as opened:
        for folded in (False, True):
            task = numbered(int(folded))
            await opened.append(task)
            if folded:
                await opened.store.list_tasks(TaskQuery())
            for owner in (None, task.user):
                assert await opened.store.get(task.id, owner) == task
            ways = []
            for task_id in (task.id, "none"):
                statements.clear()
                assert await opened.store.get(task_id, "bob") is None
                ways.append([statement for statement, _ in statements])
            assert ways[0] == ways[1]
            assert len(ways[0]) == (1 if folded else 2)
