"""Fetches of datasets into the cache: concurrent requests share one, which resumes after a cut.

For datasets without a checksum the last known version of each source is remembered.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from fetchml.core.requests.dataset import Dataset
from fetchml.datasets.cache import DatasetCache, Draft, format_size
from fetchml.ports.launcher import PrepareError
from fetchml.ports.origin import ContentVersion, Download, Interrupted, Origin
from fetchml.system.threads import run_in_thread

MAX_SOURCES = 10_000


class CachedVersion(msgspec.Struct, frozen=True):
    version: ContentVersion
    sha256: str


class DatasetVersions:
    """Versions in one small file, whose loss only costs another fetch. `put` may block, and may be
    called from any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, CachedVersion] = {}
        """By a digest of the URL, since a URL may itself grant access; oldest first."""

    def load(self) -> None:
        try:
            self._known = msgspec.json.decode(
                self._file.read_bytes(), type=dict[str, CachedVersion]
            )
        except (FileNotFoundError, msgspec.DecodeError):
            self._known = {}

    def get(self, url: str) -> CachedVersion | None:
        return self._known.get(_digest(url))

    def put(self, url: str, cached: CachedVersion) -> None:
        with self._lock:
            versions = dict(self._known)
            versions.pop(_digest(url), None)
            versions[_digest(url)] = cached
            while len(versions) > MAX_SOURCES:
                del versions[next(iter(versions))]
            draft = self._file.with_suffix(".new")
            draft.write_bytes(msgspec.json.encode(versions))
            draft.replace(self._file)
            # Only after the write: a failed one must not affect later calls.
            self._known = versions


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


TRIES = 5
"""Tries without any progress before a fetch fails."""
PROGRESS_SECONDS = 1.0

log = logging.getLogger(__name__)


class DatasetFetches:
    def __init__(
        self,
        cache: DatasetCache,
        versions: DatasetVersions,
        origins: Mapping[str, Origin],
        *,
        pause_seconds: float = 1.0,
    ) -> None:
        """`origins`: by scheme. `pause_seconds`: before the second try; doubled before each further
        one."""
        self._cache = cache
        self._versions = versions
        self._origins = origins
        self._pause_seconds = pause_seconds
        self._running: dict[tuple[str, str | None], _Fetch] = {}

    async def fetch(self, dataset: Dataset, progress: Callable[[str], None]) -> str:
        """Fetch a dataset; returns the SHA-256 of its content, which is then in the cache.

        A dataset without a checksum is revalidated every time, and fetched if it has changed.
        Raises PrepareError.
        """
        # The checksum is part of the key: a wrong source for it harms only the task that names it.
        key = (dataset.location, dataset.sha256)
        fetch = self._running.get(key)
        if fetch is None:
            fetch = self._running[key] = _Fetch()
            fetch.run = asyncio.create_task(self._run(dataset, fetch))
        listener = fetch.join(dataset.name, progress)
        try:
            return await asyncio.shield(fetch.run)
        finally:
            fetch.leave(listener)
            if not fetch.listeners:
                if self._running.get(key) is fetch:
                    del self._running[key]
                fetch.run.cancel()
                await asyncio.gather(fetch.run, return_exceptions=True)

    async def _run(self, dataset: Dataset, fetch: "_Fetch") -> str:
        url = dataset.location
        cached = self._versions.get(url) if dataset.sha256 is None else None
        if cached is not None and not await asyncio.to_thread(self._cache.has, cached.sha256):
            cached = None
        draft = self._cache.draft()
        try:
            await run_in_thread(draft.open)
            version = await self._fill(url, draft, cached.version if cached else None, fetch)
            if cached is not None and version is cached.version:
                return cached.sha256
            require_sum(dataset, draft.sha256)
            await run_in_thread(draft.keep)
            if dataset.sha256 is None and version is not None:
                await self._remember(url, CachedVersion(version, draft.sha256))
            return draft.sha256
        except OSError as error:
            why = error.strerror or "the disk fails"
            raise PrepareError(f"cannot store it: {why}", permanent=False) from error
        finally:
            await run_in_thread(draft.discard)

    async def _remember(self, url: str, cached: CachedVersion) -> None:
        """Store the version. A failure costs only another fetch."""
        try:
            await asyncio.to_thread(self._versions.put, url, cached)
        except OSError:
            log.exception("the version of a dataset cannot be stored")

    async def _fill(
        self, url: str, draft: Draft, cached: ContentVersion | None, fetch: "_Fetch"
    ) -> ContentVersion | None:
        """Download into the draft; returns the version that it then holds completely. If the source
        still has the version `cached`, that object is returned and the draft is empty."""
        origin = self._origins[url.partition(":")[0].lower()]
        version: ContentVersion | None = None
        best, tries = 0, 0
        while True:
            resumes = draft.written > 0 and version is not None
            asked = (draft.written, version) if resumes else (0, cached)
            try:
                async with origin.read(url, offset=asked[0], version=asked[1]) as reading:
                    if reading is None:
                        return cached
                    version = reading.version
                    await _copy(reading, draft, fetch)
                    return version
            except Interrupted as error:
                if draft.written > best:
                    best, tries = draft.written, 0
                tries += 1
                if error.anew:
                    version = None
                if tries == TRIES:
                    raise PrepareError(str(error), permanent=False) from error
                fetch.report_all(f"{fetch.so_far}, to be tried again: {error}")
                await asyncio.sleep(self._pause_seconds * 2 ** (tries - 1))


def require_sum(dataset: Dataset, sha256: str) -> None:
    """Raise PrepareError if the dataset must have another checksum."""
    if dataset.sha256 not in (None, sha256):
        message = f"SHA-256 mismatch: got {sha256}, expected {dataset.sha256}"
        raise PrepareError(message, permanent=True)


async def _copy(reading: Download, draft: Draft, fetch: "_Fetch") -> None:
    if reading.offset != draft.written:
        draft.restart()
    if reading.length is not None:
        await run_in_thread(draft.reserve, reading.length)
    async for chunk in reading.chunks:
        await run_in_thread(draft.write, chunk)
        fetch.note_progress(draft.written, reading.length)
    if reading.length not in (None, draft.written):
        has, expected = format_size(draft.written), format_size(reading.length or 0)
        raise Interrupted(f"truncated after {has} of {expected}")


class _Fetch:
    """A fetch and its listeners, each of which has its own name for the dataset."""

    run: asyncio.Task[str]

    def __init__(self) -> None:
        self.so_far = ""
        self.listeners: dict[int, Callable[[str], None]] = {}
        self._number = 0
        self._reported_at = time.monotonic()

    def join(self, name: str, progress: Callable[[str], None]) -> int:
        def report(so_far: str) -> None:
            progress(f"fetching {name}{so_far}")

        self._number += 1
        self.listeners[self._number] = report
        report(self.so_far)
        return self._number

    def leave(self, number: int) -> None:
        del self.listeners[number]

    def note_progress(self, written: int, length: int | None) -> None:
        """Note the progress in bytes. `length`: `None` if the total is unknown."""
        if length:
            share = f"{100 * written // length} % of {format_size(length)}"
        else:
            share = format_size(written)
        self.so_far = f": {share}"
        if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
            self.report_all(self.so_far)

    def report_all(self, so_far: str) -> None:
        self._reported_at = time.monotonic()
        for report in self.listeners.values():
            report(so_far)
