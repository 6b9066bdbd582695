"""Other schemes, through the real library; its own memory stands for an object store."""

import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from fetchml.adapters.origins.fsspec import FsspecOrigin
from fetchml.core.model import DatasetSpec
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.provider import DatasetProvider
from fetchml.ports.launcher import PrepareError
from tests.datasets.conftest import NOT_LIMITED, sha256, task_of

CONTENT = b"rows" * 1000


@pytest.fixture
async def datasets(tmp_path: Path) -> DatasetProvider:
    cache = DatasetCache(tmp_path, most_bytes=NOT_LIMITED, min_free_bytes=0)
    origins = dict.fromkeys(("memory", "s3"), FsspecOrigin())
    datasets = DatasetProvider(None, cache, origins, pause_seconds=0.01)
    await datasets.open(frozenset())
    return datasets


@pytest.fixture(autouse=True)
def _bucket() -> Iterator[None]:
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket/rows.csv": CONTENT})
    yield
    store.rm("/bucket", recursive=True)


async def test_a_file_is_fetched_and_checked(datasets: DatasetProvider) -> None:
    spec = DatasetSpec(source="memory://bucket/rows.csv", sha256=sha256(CONTENT))
    (mount,) = await datasets.provide(task_of(spec), lambda _: None)
    assert mount.source.read_bytes() == CONTENT
    assert mount.target == "/data/rows.csv/rows.csv"


async def test_changed_content_is_fetched_again(datasets: DatasetProvider) -> None:
    spec = DatasetSpec(name="d", source="memory://bucket/rows.csv")
    for number, content in enumerate((CONTENT, CONTENT, b"other")):
        if content != CONTENT:
            fsspec.filesystem("memory").pipe({"/bucket/rows.csv": content})
        (mount,) = await datasets.provide(task_of(spec, name=f"t{number}"), lambda _: None)
        assert mount.source.read_bytes() == content


async def test_reading_goes_on_where_it_was_cut() -> None:
    origin = FsspecOrigin()
    url = "memory://bucket/rows.csv"
    async with origin.read(url) as whole:
        assert whole is not None
        assert whole.version is not None
    async with origin.read(url, offset=3990, version=whole.version) as rest:
        assert rest is not None
        assert (rest.offset, rest.length) == (3990, 4000)
        assert b"".join([chunk async for chunk in rest.chunks]) == CONTENT[3990:]
    async with origin.read(url, version=whole.version) as unchanged:
        assert unchanged is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("memory://bucket/none", "file not found"),
        ("memory://bucket", "it is a folder: name one file"),
        ("memory://bucket/x::file:///etc/passwd", "file not found"),
        ("s3://bucket/key", "the server lacks the library that reads s3://"),
        ("ftp://host/key", "the server fetches nothing from ftp:// ([datasets] allow)"),
    ],
)
async def test_unavailable_content(
    datasets: DatasetProvider, source: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PrepareError) as caught:
        await datasets.provide(task_of(DatasetSpec(name="d", source=source)), lambda _: None)
    assert said in str(caught.value)
    assert caught.value.permanent


async def test_without_the_library(
    datasets: DatasetProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    spec = DatasetSpec(source="memory://bucket/rows.csv")
    with pytest.raises(PrepareError, match=r"installs fetchml\[s3\]"):
        await datasets.provide(task_of(spec), lambda _: None)
