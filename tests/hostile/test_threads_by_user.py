"""Work whose length a user decides takes threads of its own, and one of them by user."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fetchml.attempts import task_inputs
from fetchml.attempts.task_inputs import TaskInputs
from fetchml.core.model import Status, Task
from fetchml.datasets import local
from fetchml.environments.cache import EnvironmentCache
from fetchml.files.task_files import TaskFiles
from fetchml.snapshots.files import SnapshotFiles
from tests.environments.bench import Bench
from tests.support import tasks
from tests.support.engine_box import ALICE, BOB
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.waiting import soon, until_true

ATTACKS = 20


class Held:
    """Work that goes on when the test says so."""

    def __init__(self, result: object = None) -> None:
        self.begun: list[str] = []
        """Names of threads."""
        self.go_on = threading.Event()
        self._result = result

    def __call__(self, *_: Any) -> Any:
        self.begun.append(threading.current_thread().name.rpartition("_")[0])
        self.go_on.wait()
        return self._result


@pytest.fixture
async def box() -> AsyncIterator[MemoryEngine]:
    async with memory_engine() as made:
        yield made


async def held_back(held: Held, name: str, *calls: Any) -> None:
    """Of many calls for one user one has begun. Then all end."""
    attack = [asyncio.ensure_future(call) for call in calls]
    await until_true(lambda: held.begun == [name])
    # The default threads are free for others.
    await soon(asyncio.gather(*(asyncio.to_thread(int) for _ in range(ATTACKS))))
    assert held.begun == [name]
    held.go_on.set()
    await soon(asyncio.gather(*attack))
    assert held.begun == [name] * len(calls)


async def test_looks_at_the_paths_of_datasets(
    box: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    monkeypatch.setattr(local, "_first_outside", held)
    request = {"job_name": "a", "dataset_specs": [{"source": "a/b"}]}
    calls = [box.engine.submissions.create_task(ALICE, request) for _ in range(ATTACKS)]
    await held_back(held, "dataset-paths", *calls)


async def test_removals_of_snapshots(box: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(SnapshotFiles, "remove", held)
    ids = [f"{number:064x}" for number in range(ATTACKS)]
    for each in ids:
        await box.add_snapshot(each)
    user = type(ALICE)("user", ALICE.role, "key")
    calls = [box.parts.snapshots.delete(user, each) for each in ids]
    await held_back(held, "snapshot-removals", *calls)


async def test_removals_of_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, held = Bench(tmp_path), Held(True)
    await soon(bench.provide(bench.task("one", bench.snapshot(requirements_txt=b"a\n"))))
    monkeypatch.setattr(EnvironmentCache, "remove", held)
    [record] = bench.cache.records()
    calls = [bench.environments.remove([record]) for _ in range(ATTACKS)]
    await held_back(held, "environment-removals", *calls)


async def test_outputs_that_become_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(task_inputs, "make_readable", held)

    async def find(task_id: str) -> Task:
        return tasks.task(task_id, status=Status.COMPLETED, attempt=1, ended_at=1)

    inputs = TaskInputs(find, TaskFiles(tmp_path))
    later = tasks.task("later", user="eve", inputs_from=("first",))
    await held_back(held, "inputs", *(inputs.provide(later, (4711, 4711)) for _ in range(ATTACKS)))


async def test_a_key_is_held_until_the_task_of_a_client_that_left_is_durable(
    box: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[asyncio.Future[None]] = []
    looks: list[str] = []
    append: Callable[..., Any] = box.store.append
    find: Callable[..., Any] = box.store.find_idempotent

    def held(*given: Any, **more: Any) -> asyncio.Future[None]:
        append(*given, **more)
        durable.append(asyncio.get_running_loop().create_future())
        return durable[-1]

    def looked(user: str, keys: Any) -> Any:
        looks.append(user)
        return find(user, keys)

    monkeypatch.setattr(box.store, "append", held)
    monkeypatch.setattr(box.store, "find_idempotent", looked)
    first = asyncio.ensure_future(
        box.engine.submissions.create_task(ALICE, {"job_name": "a"}, "key")
    )
    await until_true(lambda: len(durable) == 1)
    first.cancel()
    again = asyncio.ensure_future(
        box.engine.submissions.create_task(ALICE, {"job_name": "a"}, "key")
    )
    other = asyncio.ensure_future(box.engine.submissions.create_task(BOB, {"job_name": "a"}, "key"))
    await until_true(lambda: len(durable) == 2)
    assert looks == ["alice", "bob"]
    for each in durable:
        each.set_result(None)
    made = await soon(again)
    assert [task.id for task in box.tasks.values() if task.user == "alice"] == [made.id]
    await soon(other)
    assert first.cancelled()
