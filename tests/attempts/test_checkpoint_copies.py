"""Copies of checkpoints that begin at the same time count together against the user's quota."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fetchml.attempts.checkpoints import Checkpoints
from fetchml.core.model import Task
from fetchml.core.storage import NOTHING, Kind
from fetchml.files.disk_usage import measure
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_files import TaskFiles
from fetchml.ports.launcher import NamedFolder, PrepareError
from tests.support.tasks import task

SOURCE = task("source", checkpoint=True)
COPIES = [task(f"copy-{number}", checkpoint_from="source") for number in range(3)]


Find = Callable[[str], Awaitable[Task | None]]


async def find(task_id: str) -> Task | None:
    return SOURCE if task_id == SOURCE.id else None


async def provide(data_dir: Path, usage: StorageUsage, find_source: Find = find) -> list[object]:
    checkpoints = Checkpoints(find_source, TaskFiles(data_dir), usage, has_room=lambda: True)
    copies = (checkpoints.provide(each, None, lambda _: None) for each in COPIES)
    return await asyncio.gather(*copies, return_exceptions=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for each in (SOURCE, *COPIES):
        TaskFiles(tmp_path).checkpoint(each.id).parent.mkdir(parents=True)
    folder = TaskFiles(tmp_path).checkpoint(SOURCE.id)
    folder.mkdir()
    (folder / "weights").write_bytes(b"w" * 1_000_000)
    return folder


async def test_copies_that_exceed_the_quota_together_are_refused(
    source: Path, tmp_path: Path
) -> None:
    size = measure(source)
    usage = StorageUsage(allowed_bytes=5 * size.bytes // 2)
    results = await provide(tmp_path, usage)
    refused = [each for each in results if isinstance(each, PrepareError)]
    assert len([each for each in results if isinstance(each, NamedFolder)]) == 2
    assert ["allowed" in str(each) for each in refused] == [True]
    assert usage.used_by("alice")[Kind.OUTPUTS].bytes == 2 * size.bytes
    for each in COPIES:  # What the disk watch finds replaces it.
        usage.live_measured(each, {Kind.OUTPUTS: NOTHING})
    assert usage.used_by("alice") == {}


async def test_failed_copies_leave_nothing_counted(source: Path, tmp_path: Path) -> None:
    async def gone(task_id: str) -> None:
        return None

    usage = StorageUsage(allowed_bytes=10 * measure(source).bytes)
    results = await provide(tmp_path, usage, gone)
    assert [type(each) for each in results] == [PrepareError] * len(COPIES)
    assert usage.used_by("alice") == {}
