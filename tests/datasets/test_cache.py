"""The cache: bounds, contents in use, and incomplete contents."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.core.model import DatasetSpec
from fetchml.datasets import cache
from fetchml.ports.launcher import PrepareError
from testbed.small_disk import mounted_disk
from tests.datasets.conftest import Box, sha256
from tests.datasets.origin import File, OriginServer

MB = 1_000_000


def publish(origin: OriginServer, *names: str, size: int = MB) -> dict[str, DatasetSpec]:
    specs = {}
    for name in names:
        content = os.urandom(size)
        origin.answers[f"/{name}"] = File(content)
        specs[name] = DatasetSpec(source=origin.url(f"/{name}"), sha256=sha256(content))
    return specs


async def test_the_least_recently_used_content_is_removed_first(
    box: Box, origin: OriginServer
) -> None:
    box.most_bytes = 3 * MB
    specs = publish(origin, "a", "b", "c", "d")
    datasets = await box.open()
    for name in ("a", "b", "c", "a"):
        await box.give(datasets, specs[name], name=name)
        await datasets.release(name, 1)
    await box.give(datasets, specs["d"], name="d")
    assert box.cached == {specs[name].sha256 for name in "acd"}


async def test_the_number_of_contents_is_bounded(
    box: Box, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small they are: each is looked at when room is made."""
    monkeypatch.setattr(cache, "MAX_CONTENTS", 2)
    specs = publish(origin, "a", "b", "c", "d", size=10)
    datasets = await box.open()
    await box.give(datasets, specs["a"], name="held")
    for name in ("b", "c", "d"):
        await box.give(datasets, specs[name], name=name)
        await datasets.release(name, 1)
    assert box.cached == {specs[name].sha256 for name in "acd"}


async def test_content_in_use_stays_across_a_restart(box: Box, origin: OriginServer) -> None:
    box.most_bytes = 2 * MB
    specs = publish(origin, "a", "b", "c")
    datasets = await box.open()
    (a,) = await box.give(datasets, specs["a"], name="one")
    await box.give(datasets, specs["b"], name="two")

    datasets = await box.open(("one", 1), ("two", 1))
    with pytest.raises(PrepareError, match="full of datasets in use") as caught:
        await box.give(datasets, specs["c"], name="three")
    assert not caught.value.permanent
    asked = len(origin.requests)
    assert await box.give(datasets, specs["a"], name="one") == [a]
    assert len(origin.requests) == asked

    datasets = await box.open(("one", 1))
    await box.give(datasets, specs["c"], name="three")
    assert box.cached == {specs["a"].sha256, specs["c"].sha256}
    assert a.exists()
    box.check_nothing_is_left_over()


async def test_an_attempt_keeps_the_content_that_it_was_given(
    box: Box, origin: OriginServer
) -> None:
    file = origin.answers["/x"] = File(b"first")
    spec = DatasetSpec(source=origin.url("/x"))
    datasets = await box.open()
    await box.give(datasets, spec)
    file.content, file.etag = b"second", '"2"'
    (path,) = await box.give(await box.open(("t", 1)), spec)
    assert path.read_bytes() == b"first"


async def test_modified_content_is_fetched_again(box: Box, origin: OriginServer) -> None:
    spec = publish(origin, "a")["a"]
    datasets = await box.open()
    (path,) = await box.give(datasets, spec)
    good = path.read_bytes()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"poison")
    (path,) = await box.give(datasets, spec, name="other")
    assert path.read_bytes() == good


async def test_leftovers_of_a_killed_server_are_removed(box: Box) -> None:
    await box.open()
    (box.cache_folder / "partial" / "half").write_bytes(b"x")
    (box.cache_folder / "versions.json").write_bytes(b"{half")
    await box.open()
    box.check_nothing_is_left_over()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk", "4m") as folder:
        yield folder


async def test_a_full_disk_is_reported(small_disk: Path, origin: OriginServer) -> None:
    box = Box(small_disk)
    box.min_free_bytes = 2 << 20
    specs = publish(origin, "a", "b", "c") | publish(origin, "large", size=6 * MB)
    datasets = await box.open()
    await box.give(datasets, specs["a"], name="a")
    given = await asyncio.gather(
        *(box.give(datasets, specs[name], name=name) for name in ("b", "c", "large")),
        return_exceptions=True,
    )
    for refused in (given[2], *(g for g in given[:2] if isinstance(g, BaseException))):
        assert isinstance(refused, PrepareError)
        assert "the server's disk is nearly full" in str(refused)
        assert not refused.permanent
    assert sum(isinstance(g, list) for g in given) == 1, "two and a reserve do not fit beside it"
    box.check_nothing_is_left_over()
    disk = os.statvfs(small_disk)
    assert disk.f_bavail * disk.f_frsize >= 2 << 20
    for name in ("a", "b", "c"):
        await datasets.release(name, 1)
    for name in ("b", "c"):
        await box.give(datasets, specs[name], name=f"{name} again")
        await datasets.release(f"{name} again", 1)
