"""Datasets with a real cache and a real, badly behaved server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.adapters.origins.http import HttpOrigin
from fetchml.core.addresses import AddressRules
from fetchml.core.model import DatasetSpec, Task
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.provider import DatasetProvider
from tests.datasets.origin import OriginServer, origin_server
from tests.support.tasks import task
from tests.support.waiting import SECONDS

NOT_LIMITED = 1 << 50


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def task_of(*specs: DatasetSpec, name: str = "t", datasets: tuple[str, ...] = ()) -> Task:
    return task(name, dataset_specs=specs, datasets=datasets, attempt=1)


class Box:
    """A data directory, and servers on it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True)
        self.cache_folder = folder / "cache"
        self.most_bytes = NOT_LIMITED
        self.min_free_bytes = 0
        self.rules = AddressRules(allow_hosts=frozenset({"127.0.0.1"}))
        self.stall_seconds = 5.0
        self.said: list[str] = []
        """The progress that the tasks showed."""
        self._news = asyncio.Event()

    async def open(self, *live: tuple[str, int]) -> DatasetProvider:
        cache = DatasetCache(
            self.cache_folder, most_bytes=self.most_bytes, min_free_bytes=self.min_free_bytes
        )
        http = HttpOrigin(self.rules, frozenset({"http"}), stall_seconds=self.stall_seconds)
        datasets = DatasetProvider(self.root, cache, {"http": http}, pause_seconds=0.01)
        await datasets.open(frozenset(live))
        return datasets

    async def give(
        self, datasets: DatasetProvider, *specs: DatasetSpec, name: str = "t"
    ) -> list[Path]:
        """Where the datasets lie that a task was given."""
        async with asyncio.timeout(SECONDS):
            mounts = await datasets.provide(task_of(*specs, name=name), self.say)
        assert all(mount.read_only for mount in mounts)
        return [mount.source for mount in mounts]

    def say(self, sentence: str) -> None:
        self.said.append(sentence)
        self._news.set()

    async def until_said(self, count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(self.said) < count:
                self._news.clear()
                await self._news.wait()

    @property
    def cached(self) -> set[str]:
        return {path.name for path in (self.cache_folder / "content").iterdir()}

    def check_nothing_is_left_over(self) -> None:
        assert list((self.cache_folder / "partial").iterdir()) == []


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture
async def origin() -> AsyncIterator[OriginServer]:
    async with origin_server() as server:
        yield server
