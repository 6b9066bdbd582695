"""Datasets of tasks: found below the server's root, or fetched, verified and held."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fetchml.core.model import DatasetSpec, Task, UsedDataset
from fetchml.core.requests.dataset import MOUNT_ROOT, Dataset, read
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.fetch import DatasetFetches, DatasetVersions, require_sum
from fetchml.datasets.local import LocalDatasets, listing_sum
from fetchml.ports.launcher import Mount, PrepareError
from fetchml.ports.origin import Origin
from fetchml.system.threads import run_in_thread

FETCH_TRIES = 3
"""Other fetches may evict a content before the task holds it."""

Progress = Callable[[str], None]


class DatasetProvider:
    def __init__(
        self,
        root: Path | None,
        cache: DatasetCache,
        origins: Mapping[str, Origin],
        *,
        pause_seconds: float = 1.0,
    ) -> None:
        """`root`: the server's own datasets. `origins`: by allowed scheme. `pause_seconds`: before
        the first retry of an interrupted fetch."""
        self._root = LocalDatasets(root)
        self.names = self._root.names
        self._cache = cache
        self._versions = DatasetVersions(cache.folder / "versions.json")
        self._origins = origins
        self._sums: dict[str, dict[int, str]] = {}
        """Digests of fetched datasets without one in the request, by lease and number."""
        self._fetches = DatasetFetches(cache, self._versions, origins, pause_seconds=pause_seconds)

    async def open(self, live: frozenset[tuple[str, int]]) -> None:
        """Open the cache, before any other call. `live`: attempts (task id, number) that may hold
        datasets."""
        await asyncio.to_thread(self._cache.open, frozenset(_lease(*item) for item in live))
        await asyncio.to_thread(self._versions.load)

    async def fault(self, user: str, specs: Sequence[DatasetSpec]) -> str | None:
        """Return why a source can never be provided: it lies outside of the server's root. `None`
        if all may be provided; a file that is missing inside the root may still appear.

        Calls for one user wait for each other."""
        local = [
            (index, dataset.location)
            for index, dataset in enumerate(map(read, specs))
            if dataset.is_local
        ]
        if not local:
            return None
        if not self._root.is_set:
            return (
                f"item {local[0][0]} source must be a URL: the server has no datasets of its own "
                "([datasets] root is not set)"
            )
        outside = await self._root.first_outside(user, [location for _, location in local])
        if outside is None:
            return None
        return (
            f"item {local[outside][0]} source must lie in the server's datasets ([datasets] root)"
        )

    async def provide(self, task: Task, progress: Progress) -> tuple[Mount, ...]:
        """Provide every dataset of the task's current attempt until `release`; returns the mounts.

        Repeated calls for an attempt return the same contents. Raises PrepareError.
        """
        mounts = []
        for name in dict.fromkeys(task.spec.datasets or ()):
            try:
                source = await self._root.folder(name)
            except PrepareError as error:
                raise _of(name, error) from error
            mounts.append(Mount(source, f"{MOUNT_ROOT}/{name}", read_only=True))
        for number, spec in enumerate(task.spec.dataset_specs or ()):
            dataset = read(spec)
            try:
                if dataset.is_local:
                    mounts.append(await self._local(dataset, progress))
                else:
                    source = await self._fetched(dataset, task, number, progress)
                    mounts.append(Mount(source, dataset.file, read_only=True))
            except PrepareError as error:
                raise _of(dataset.name, error) from error
        return tuple(mounts)

    async def used(self, task: Task, mounts: Sequence[Mount]) -> tuple[UsedDataset, ...]:
        """Describe the datasets that `provide` has returned the mounts of."""
        names, specs = dict.fromkeys(task.spec.datasets or ()), task.spec.dataset_specs or ()
        fetched = self._sums.get(_lease(task.id, task.attempt), {})
        found = [
            UsedDataset(name, listing=await asyncio.to_thread(listing_sum, mount.source))
            for name, mount in zip(names, mounts, strict=False)
        ]
        for number, (spec, mount) in enumerate(zip(specs, mounts[len(names) :], strict=True)):
            dataset = read(spec)
            sha256, listing = dataset.sha256 or fetched.get(number), None
            if sha256 is None and dataset.is_local:
                listing = await asyncio.to_thread(listing_sum, mount.source)
            found.append(UsedDataset(dataset.name, sha256, listing))
        return tuple(found)

    async def release(self, task_id: str, attempt: int) -> None:
        """Release what the attempt holds."""
        self._sums.pop(_lease(task_id, attempt), None)
        await asyncio.to_thread(self._cache.release, _lease(task_id, attempt))

    async def _local(self, dataset: Dataset, progress: Progress) -> Mount:
        path, is_folder = await self._root.file_or_folder(dataset.location)
        if is_folder and dataset.sha256 is not None:
            raise PrepareError("a folder has no SHA-256: name one file", permanent=True)
        if dataset.sha256 is not None:
            require_sum(dataset, await self._root.sha256(path, progress))
        return Mount(path, dataset.folder if is_folder else dataset.file, read_only=True)

    async def _fetched(self, dataset: Dataset, task: Task, number: int, progress: Progress) -> Path:
        lease = _lease(task.id, task.attempt)
        if path := await asyncio.to_thread(self._cache.pinned, lease, number):
            return path
        if dataset.scheme not in self._origins:
            message = f"the server fetches nothing from {dataset.scheme}:// ([datasets] allow)"
            raise PrepareError(message, permanent=True)
        sha256 = dataset.sha256
        for _ in range(FETCH_TRIES):
            if sha256 is None or not await asyncio.to_thread(self._cache.has, sha256):
                sha256 = await self._fetches.fetch(dataset, progress)
            if path := await run_in_thread(self._cache.hold, sha256, lease, number):
                self._sums.setdefault(lease, {})[number] = sha256
                return path
        message = "the server's cache is too small for what its tasks use ([datasets] cache_bytes)"
        raise PrepareError(message, permanent=False)


def _lease(task_id: str, attempt: int) -> str:
    return f"{task_id}-{attempt}"


def _of(name: str, error: PrepareError) -> PrepareError:
    return PrepareError(f"dataset {name!r}: {error}", permanent=error.permanent)
