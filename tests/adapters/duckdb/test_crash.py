"""Nothing acknowledged is lost: killed, disk full, failing fsync."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.adapters.duckdb.readers import READERS
from fetchml.adapters.duckdb.recovery import DatabaseFiles
from fetchml.adapters.duckdb.store import StoreUnusable
from fetchml.core.model import Idempotency, Status, Task
from fetchml.core.requests.submission import MAX_REQUEST_BYTES
from fetchml.ports.store import TaskQuery
from testbed import debian
from testbed.small_disk import mounted_disk, resize
from tests.support.stores import numbered, open_store, store_in

APPENDER = [sys.executable, "-m", "tests.adapters.duckdb.appender"]
DEADLINE_S = 240
NO_ROOM = "No space left on device. Nothing was lost: free some space there, and try again"


def start(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def acknowledged(appender: "subprocess.Popen[str]", enough: int | None) -> int:
    """Read what it prints, kill -9 at `enough`; return the last acknowledged number."""
    last = 0
    watchdog = threading.Timer(DEADLINE_S, appender.kill)
    watchdog.start()
    assert appender.stdout is not None
    with appender.stdout as lines:
        for line in lines:
            if line.strip().isdigit():  # the last line may be cut
                last = int(line)
            if enough is not None and last >= enough:
                appender.kill()
    appender.wait()
    watchdog.cancel()
    return last


async def check_everything_is_there(data_dir: Path, last: int, **settings: str) -> int:
    """All changes up to `last` and the tasks that they make; returns the highest number found."""
    async with store_in(data_dir, journal_rows=1_000_000, **settings) as opened:
        found = opened.restored.last_seq
        assert found >= last
        seq, latest = 0, dict[str, Task]()
        while changes := await opened.store.changes_since(seq, 10_000):
            assert [change.seq for change in changes] == list(
                range(seq + 1, seq + 1 + len(changes))
            )
            latest |= {change.task.id: change.task for change in changes}
            seq = changes[-1].seq
        assert seq == found
        assert sum(opened.restored.counts.values()) == len(latest)
        for task_id in (*list(latest)[:50], *list(latest)[-50:]):
            assert await opened.store.get(task_id) == latest[task_id]
    return found


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    found = 0
    for more in (50, 1_500, 500, 2_000):
        last = acknowledged(start([*APPENDER, str(tmp_path)]), found + more)
        assert last >= found + more
        found = await check_everything_is_there(tmp_path, last)


@pytest.mark.slow
async def test_long_tasks_fit_in_memory(tmp_path: Path) -> None:
    """All proportions are those of the longest tasks, but for the time that those would take."""
    limit = "256MB"
    appender = start([*APPENDER, str(tmp_path), str(MAX_REQUEST_BYTES // 4), limit])
    last = acknowledged(appender, 1_200)
    assert last >= 1_200
    await check_everything_is_there(tmp_path, last, memory_limit=limit)
    async with store_in(tmp_path, memory_limit=limit) as opened:
        pages = [opened.store.list_tasks(TaskQuery(limit=400)) for _ in range(READERS)]
        for page in await asyncio.gather(*pages):
            assert len(page.tasks) == 400


@pytest.mark.slow
@pytest.mark.parametrize("nth", [4, 40])
async def test_failed_fsync_is_fatal_and_loses_nothing(tmp_path: Path, nth: int) -> None:
    async with store_in(tmp_path) as opened:
        await opened.append(numbered(0))
    fault = f"inject=fdatasync:error=EIO:when={nth}+"
    strace = [
        debian.program("strace"),
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        "trace=fdatasync",
        "-e",
        fault,
    ]
    appender = start([*strace, *APPENDER, str(tmp_path)])
    last = acknowledged(appender, None)
    assert appender.returncode == 3
    await check_everything_is_there(tmp_path, last)


class SmallDisk:
    """A file system of 8 MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        other = os.open(self.folder / "other", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(other, bytes(4096))
        os.close(other)

    def grow(self) -> None:
        resize(self.folder, "200m")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted_disk(tmp_path, "8m") as folder:
        yield SmallDisk(folder)


@pytest.mark.slow
async def test_full_disk_is_fatal_and_loses_nothing(small_disk: SmallDisk) -> None:
    data_dir = small_disk.folder / "data"
    appender = start([*APPENDER, str(data_dir)])
    last = acknowledged(appender, None)
    assert appender.returncode == 3
    assert last > 1_000
    with pytest.raises(StoreUnusable, match=NO_ROOM):  # It is not damaged.
        await open_store(data_dir)
    small_disk.grow()
    await check_everything_is_there(data_dir, last)


async def test_full_disk_at_the_creation_of_a_store(small_disk: SmallDisk) -> None:
    data_dir = small_disk.folder / "data"
    small_disk.fill()
    with pytest.raises(StoreUnusable, match=NO_ROOM):
        await open_store(data_dir)
    small_disk.grow()
    async with store_in(data_dir) as opened:
        await opened.append(numbered(0))


async def test_full_disk_error_has_the_remedy(small_disk: SmallDisk) -> None:
    opened = await open_store(small_disk.folder / "data")
    small_disk.fill()
    opened.append(*(numbered(number) for number in range(2_000)))
    await opened.failed.wait()
    assert isinstance(opened.failures[0], StoreUnusable)
    assert re.search(NO_ROOM, str(opened.failures[0]))
    await opened.store.close()


async def test_has_room_is_false_before_the_disk_is_full(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    total = disk.f_blocks * disk.f_frsize
    async with store_in(tmp_path / "a", min_free_bytes=1) as opened:
        assert opened.store.has_room()
    async with store_in(tmp_path / "b", min_free_bytes=total) as opened:
        assert not opened.store.has_room()
        await opened.append(numbered(0, Status.RUNNING))  # what is under way goes on
    # A checkpoint could fill the disk, and that would be fatal: none was made, nothing is lost.
    assert DatabaseFiles.below(tmp_path / "b").wal.stat().st_size > 0
    async with store_in(tmp_path / "b") as opened:
        assert [each.id for each in opened.restored.live] == [numbered(0).id]


async def test_failure_in_the_fold_is_fatal_too(tmp_path: Path) -> None:
    opened = await open_store(tmp_path)
    opened.store._maintenance._database.cursor().execute("DROP TABLE idempotency")
    await opened.append(numbered(0, idempotency=Idempotency("key", "digest")))
    await opened.failed.wait()
    assert "idempotency" in str(opened.failures[0])
    with pytest.raises(RuntimeError, match="the store has failed"):
        await opened.store.ended_on("2025-01-01")
    await opened.store.close()
    assert len(opened.failures) == 1
