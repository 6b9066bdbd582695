"""Searches and histories delay no other read, end after a time, and end with their caller."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import duckdb
import pytest

from fetchml.adapters.duckdb import maintenance, readers, store
from fetchml.adapters.duckdb.task_rows import page_by
from fetchml.core.model import Idempotency, Task
from fetchml.core.usage import Period
from fetchml.ports.store import ReadTooLong, TaskQuery
from tests.support.stores import Opened, numbered, store_in
from tests.support.waiting import soon, until_true

SEARCH = TaskQuery(text="train")
FOR_HOURS = (
    "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE hash(a.range) = b.range"
)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    async with store_in(tmp_path, now_ms=lambda: 2_000) as opened:
        await opened.append(numbered(0, idempotency=Idempotency("key", "digest")))
        yield opened


class Blocked:
    """Searches wait in their threads until the test goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.go_on = threading.Event()
        self._page_by = page_by
        monkeypatch.setattr(store, "page_by", self._page)

    def _page(self, cursor: duckdb.DuckDBPyConnection, query: TaskQuery) -> tuple[list[Task], bool]:
        if query.is_search:
            self.begun += 1
            self.go_on.wait()
        return self._page_by(cursor, query)


@pytest.fixture
def blocked(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocked]:
    monkeypatch.setattr(readers, "SLOW_READ_S", 3_600.0)
    blocked = Blocked(monkeypatch)
    yield blocked
    blocked.go_on.set()


async def answer_quickly(opened: Opened) -> None:
    """All reads that are not slow."""
    assert await soon(opened.store.find_idempotent("ann", ["key"]))
    assert await soon(opened.store.get("task-000000"))
    assert (await soon(opened.store.list_tasks(TaskQuery()))).total == 1


async def test_a_hundred_searches_delay_no_other_read(opened: Opened, blocked: Blocked) -> None:
    labelled = TaskQuery(labels=(("key", None),))
    assert (await opened.store.list_tasks(labelled)).total == 0
    searches = [asyncio.create_task(opened.store.list_tasks(SEARCH)) for _ in range(100)]
    await until_true(lambda: blocked.begun == readers.SLOW_READERS)
    history = asyncio.create_task(opened.store.usage.gpu_history(Period(0, 1, 1), 1))
    for _ in range(readers.READERS + 1):
        await answer_quickly(opened)
    assert not history.done()
    # Those whose callers have gone never begin.
    for search in searches[readers.SLOW_READERS :]:
        search.cancel()
    await soon(asyncio.wait(searches[readers.SLOW_READERS :]))
    blocked.go_on.set()
    for search in searches[: readers.SLOW_READERS]:
        assert (await soon(search)).total == 1
    assert await soon(history) == []
    assert blocked.begun == readers.SLOW_READERS


async def test_a_checkpoint_lets_others_read_while_a_search_goes_on(
    opened: Opened, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = asyncio.create_task(opened.store.list_tasks(SEARCH))
    await until_true(lambda: blocked.begun == 1)
    monkeypatch.setattr(maintenance, "IDLE_CHECKPOINT_BYTES", 0)
    monkeypatch.setattr(maintenance, "BUSY_CHECKPOINT_BYTES", 0)
    await opened.append(numbered(0, idempotency=Idempotency("key", "digest")))
    database = opened.store._database
    await until_true(lambda: database._checkpoint_due)
    await answer_quickly(opened)
    later = asyncio.create_task(opened.store.list_tasks(SEARCH))
    await answer_quickly(opened)
    assert blocked.begun == 1, "a new search waits for the checkpoint"
    wal_bytes = database.files.wal.stat().st_size
    blocked.go_on.set()
    assert (await soon(search)).total == 1
    assert (await soon(later)).total == 1
    await until_true(lambda: database.files.wal.stat().st_size < wal_bytes)


class Endless:
    """Searches execute a statement that takes hours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = False
        self.interrupted = 0
        monkeypatch.setattr(store, "page_by", self._page)

    def _page(self, cursor: duckdb.DuckDBPyConnection, _: TaskQuery) -> tuple[list[Task], bool]:
        self.begun = True
        try:
            cursor.execute(FOR_HOURS).fetchall()
        except duckdb.InterruptException:
            self.interrupted += 1
            raise
        return [], False


async def test_a_search_that_takes_too_long_is_ended(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        endless = Endless(patched)
        patched.setattr(readers, "SLOW_READ_S", 0.05)
        for number in range(readers.SLOW_READERS + 1):
            with pytest.raises(ReadTooLong):
                await soon(opened.store.list_tasks(SEARCH))
            assert endless.interrupted <= number + 1
    assert (await soon(opened.store.list_tasks(SEARCH))).total == 1


async def test_a_search_ends_with_its_caller(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(readers, "SLOW_READ_S", 3_600.0)
        endless = Endless(patched)
        search = asyncio.create_task(opened.store.list_tasks(SEARCH))
        await until_true(lambda: endless.begun)
        search.cancel()
        await soon(asyncio.wait([search]))
        assert search.cancelled()
        assert endless.interrupted == 1, "on return its thread is free"
    assert (await soon(opened.store.list_tasks(SEARCH))).total == 1
