"""The writer groups the submits of a crowd into few commits, and holds up nobody else for it."""

import asyncio
import threading
from asyncio import run_coroutine_threadsafe
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fetchml.adapters.duckdb import journal_writer
from fetchml.adapters.duckdb.journal_writer import CROWD, encode_task
from fetchml.core.model import Status
from tests.support.stores import Opened, numbered, store_in
from tests.support.waiting import soon, until_true


class Gate:
    """The lock of the commits. The writer stands in front of it until it is opened."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def __enter__(self) -> None:
        self.reached.set()
        self._open.wait()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Crowd:
    """Callers that submit to a store at the same time."""

    def __init__(self, opened: Opened) -> None:
        self.commits: list[int] = []
        """The number of changes of each."""
        self.opened = opened
        self.writer = opened.store._writer
        opened.store.subscribe(lambda changes: self.commits.append(len(changes)))

    def submit(self) -> asyncio.Future[None]:
        task = numbered(self.opened.last_seq)
        changes = self.opened.number([task])
        return self.opened.store.append(changes, encoded=[encode_task(task)])

    def end_a_task(self) -> asyncio.Future[None]:
        return self.opened.append(numbered(0, Status.COMPLETED, ended_at=5))

    def end_a_task_after_a_commit(self) -> None:
        """In the writer's thread, before it can hold anything back."""
        loop, committed = asyncio.get_running_loop(), self.writer._on_commit

        async def end() -> None:
            self.ended = self.end_a_task()

        def after_commit(seq: int, sizes: Sequence[int]) -> None:
            committed(seq, sizes)
            if len(sizes) > CROWD:
                run_coroutine_threadsafe(end(), loop).result()

        self.writer._on_commit = after_commit

    async def until_held_back(self) -> None:
        await until_true(lambda: self.writer._enough == CROWD + 1)


@pytest.fixture(autouse=True)
def _no_end_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_writer, "HOLD_SECONDS", 3_600)


@asynccontextmanager
async def crowd_in(folder: Path, *, a_task_ends: bool = False) -> AsyncIterator[Crowd]:
    """After a commit of one submit, and one of CROWD + 1. `a_task_ends`: right behind that one."""
    async with store_in(folder) as opened:
        crowd = Crowd(opened)
        gate = crowd.writer._commits = Gate(opened.store._database.commits)  # type: ignore[assignment]
        submitted = [crowd.submit()]
        await until_true(gate.reached.is_set)
        submitted += [crowd.submit() for _ in range(CROWD + 1)]
        if a_task_ends:
            crowd.end_a_task_after_a_commit()
        gate.open()
        await soon(asyncio.gather(*submitted))
        try:
            yield crowd
        finally:
            await soon(crowd.end_a_task())


async def test_next_submits_of_a_crowd_are_one_commit(tmp_path: Path) -> None:
    async with crowd_in(tmp_path) as crowd:
        await crowd.until_held_back()
        first = crowd.submit()
        await crowd.until_held_back()
        rest = [crowd.submit() for _ in range(CROWD)]
        await soon(asyncio.gather(first, *rest))
        assert crowd.commits == [1, CROWD + 1, CROWD + 1]


async def test_task_that_ends_is_not_held_back(tmp_path: Path) -> None:
    async with crowd_in(tmp_path) as crowd:
        await crowd.until_held_back()
        submitted = crowd.submit()
        await soon(asyncio.gather(submitted, crowd.end_a_task()))
        assert crowd.commits == [1, CROWD + 1, 2]


async def test_nothing_is_held_back_if_a_task_ended_meanwhile(tmp_path: Path) -> None:
    async with crowd_in(tmp_path, a_task_ends=True) as crowd:
        await soon(crowd.ended)
        assert crowd.commits == [1, CROWD + 1, 1]


async def test_few_submits_are_committed_at_once(tmp_path: Path) -> None:
    async with store_in(tmp_path) as opened:
        crowd = Crowd(opened)
        for _ in range(2 * CROWD):
            await soon(crowd.submit())
        assert crowd.commits == [1] * 2 * CROWD
