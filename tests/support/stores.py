"""DuckDB stores, and numbered tasks for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from fetchml.adapters.duckdb.store import DuckDBStore
from fetchml.core.model import Change, Status, Task
from fetchml.ports.store import StoredState
from tests.support.tasks import task

BERLIN = ZoneInfo("Europe/Berlin")


def numbered(number: int, status: Status = Status.QUEUED, **fields: Any) -> Task:
    job_name = f"train-{number % 3}"
    made = task(f"task-{number:06}", user="ann", job_name=job_name, created_at=1_000 + number)
    return replace(made, status=status, **fields)


class Opened:
    """An open store and what it told, numbering changes as the engine does."""

    restored: StoredState

    def __init__(self, store: DuckDBStore) -> None:
        self.store = store
        self.announced = list[Change]()
        self.failures = list[Exception]()
        self.failed = asyncio.Event()
        self.last_seq = 0

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.failed.set()

    def append(self, *tasks: Task) -> asyncio.Future[None]:
        return self.store.append(self.number(tasks))

    def number(self, tasks: Sequence[Task]) -> list[Change]:
        first = self.last_seq + 1
        self.last_seq += len(tasks)
        return [Change(first + i, 5_000 + first + i, each) for i, each in enumerate(tasks)]


async def open_store(data_dir: Path, **settings: Any) -> Opened:
    defaults: dict[str, Any] = {"time_zone": BERLIN, "min_free_bytes": 0}
    opened = Opened(DuckDBStore(data_dir, **defaults | settings))
    opened.restored = await opened.store.open(recent_limit=10, on_fatal=opened.fail)
    opened.store.subscribe(opened.announced.extend)
    opened.last_seq = opened.restored.last_seq
    return opened


@asynccontextmanager
async def store_in(data_dir: Path, **settings: Any) -> AsyncIterator[Opened]:
    opened = await open_store(data_dir, **settings)
    try:
        yield opened
    finally:
        await opened.store.close()
        assert opened.failures == []
