"""Files of runs: counted, measured again, and removed with their run."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from fetchml.core.storage import Kind
from fetchml.errors import DiskFull, StorageQuotaReached
from fetchml.files.storage_usage import StorageUsage
from fetchml.tracking.artifacts import Artifacts, Holder

KEPT, GONE = Holder("ada", "a" * 32), Holder("ada", "b" * 32)
BLOCK = 4096


async def pieces(size: int) -> AsyncIterator[bytes]:
    for first in range(0, size, 100_000):
        yield bytes(min(100_000, size - first))


async def runs(ids: Sequence[str]) -> set[str]:
    return {KEPT.id} & set(ids)


def used(usage: StorageUsage) -> int:
    found = usage.used_by("ada").get(Kind.ARTIFACTS)
    return found.bytes if found is not None else 0


async def test_files_are_counted_and_those_of_removed_runs_go(tmp_path: Path) -> None:
    usage = StorageUsage(0)
    artifacts = Artifacts(tmp_path / "tracking", usage, lambda: True)
    async with artifacts.upkeep(lambda _: set(), runs):
        await artifacts.write(KEPT, "a/b", pieces(1_000_000))
        await artifacts.write(GONE, "c", pieces(1_000_000))
    assert used(usage) >= 2_000_000
    before = used(usage)
    await artifacts.write(KEPT, "a/b", pieces(10))
    assert used(usage) <= before - 900_000
    await artifacts.sweep(lambda _: set(), runs)
    assert used(usage) < 20 * BLOCK
    assert [each.name for each in (tmp_path / "tracking/of-ada").iterdir()] == [KEPT.id]
    await artifacts.delete(KEPT)
    assert used(usage) < 3 * BLOCK


async def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    usage, has_room = StorageUsage(3_000_000), True
    artifacts = Artifacts(tmp_path / "tracking", usage, lambda: has_room)
    async with artifacts.upkeep(lambda _: set(), runs):
        with pytest.raises(StorageQuotaReached):
            await artifacts.write(KEPT, "a", pieces(4_000_000))
        has_room = False
        with pytest.raises(DiskFull):
            await artifacts.write(KEPT, "a", pieces(10))
    assert used(usage) == 0
    assert await artifacts.list(KEPT, "") == []
    assert not list((tmp_path / "tracking/new").iterdir())
