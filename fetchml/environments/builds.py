"""Builds of environments: each once, however many ask, one at a time for each user."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fetchml.core.storage import size as format_size
from fetchml.environments.cache import EnvironmentCache, Record
from fetchml.environments.sources import Source
from fetchml.errors import DiskFull
from fetchml.files.disk_usage import MOST_ENTRIES, free_bytes, is_disk_full, measure
from fetchml.ports.environment_builder import (
    ENVIRONMENT,
    HOME,
    NO_PYTHON,
    NO_UV,
    SOURCE,
    VERSIONS,
    Build,
    BuildFailed,
    EnvironmentBuilder,
)
from fetchml.ports.launcher import Owner, PrepareError
from fetchml.snapshots.files import DamagedSnapshot, SnapshotFiles
from fetchml.system import failpoints
from fetchml.system.locks import KeyedLocks
from fetchml.system.threads import WorkerThreads, run_in_thread

MAX_CHARACTERS = 1500
"""Characters of uv's output to show. The reason is at the end of a long text."""

_NOT_THE_REASON = re.compile(
    r"(Using Python|Using CPython|Resolved|Prepared|Installed|Downloading|Downloaded|Building|Built"
    r"|Updating|Updated|Audited|Uninstalled|Bytecode compiled|Creating|Activate) |[ +~-]+ \S+==|$"
)
_MAY_PASS = re.compile(
    r"Failed to fetch|error sending request|dns error|timed out|Temporary failure|No space left"
    r"|Connection re|operation timed out|status server error|HTTP status server|network",
    re.IGNORECASE,
)
"""Words of errors for which a retry may succeed."""
_STEERING = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_PASSWORD = re.compile(r"://[^/\s]*@")
"""Up to the last `@`: one in a password need not be encoded."""


def prepare_error(name: str, failed: BuildFailed) -> PrepareError:
    """Return the error of a task whose environment can't be built. `name`: of the file."""
    if failed.why:
        return PrepareError(
            f"{name}: building the environment failed: {failed.why}", permanent=True
        )
    if failed.code == NO_PYTHON:
        message = f"{name}: the image has no python3, so it can't have an environment"
        return PrepareError(message, permanent=True)
    words = uv_message(failed.output)
    if failed.code == NO_UV:
        message = (
            f"{name}: uv does not run in this image: set [environments] uv to the statically "
            f"linked binary (musl){': ' + words if words else ''}"
        )
        return PrepareError(message, permanent=True)
    words = words or f"it ended with exit code {failed.code} and no message"
    return PrepareError(f"{name}: uv: {words}", permanent=_MAY_PASS.search(words) is None)


def without_passwords(text: str) -> str:
    """Return a text without the names and passwords of its URLs."""
    return _PASSWORD.sub("://***@", text)


def uv_message(output: bytes) -> str:
    """Return the reason in the end of uv's output, without passwords."""
    text = _STEERING.sub("", output.decode(errors="replace"))
    lines = [line.rstrip() for line in text.split("\n")]
    reason = [line for line in lines if not _NOT_THE_REASON.match(line)]
    # uv's own messages begin with `error:`; a failed build of a package shows its output after it.
    first = next((n for n, line in enumerate(reason) if line.startswith("error:")), 0)
    words = " ".join(" ".join(reason[first:]).split()).removeprefix("error: ")
    words = without_passwords(words)
    if len(words) <= MAX_CHARACTERS:
        return words
    half = MAX_CHARACTERS // 2
    return f"{words[:half]} … {words[-half:]}"


MOST_AT_ONCE = 2
"""Builds of all users at the same time."""
_LOOK_SECONDS = 5.0
"""Between two measurements of a build, at least."""
_LOOK_FACTOR = 10
"""Length of a pause, as a multiple of the last measurement."""

log = logging.getLogger(__name__)

Progress = Callable[[str], None]


class BuildRequest(NamedTuple):
    """A requested environment."""

    id: str
    user: str
    image: str
    owner: Owner
    snapshot_id: str
    source: Source


class _Flight:
    """One build, and the attempts that wait for it."""

    def __init__(self) -> None:
        self.attempts: dict[str, Progress] = {}
        self.sentence = ""

    def report(self, sentence: str) -> None:
        if sentence and sentence != self.sentence:
            self.sentence = sentence
            for progress in self.attempts.values():
                progress(sentence)


class Builds:
    """Used from one event loop."""

    def __init__(
        self,
        builder: EnvironmentBuilder | None,
        cache: EnvironmentCache,
        snapshots: SnapshotFiles,
        *,
        min_free_bytes: int,
        clock: Callable[[], int],
    ) -> None:
        """`min_free_bytes`: space that stays free on the disk for everything else."""
        self._builder = builder
        self._cache = cache
        self._snapshots = snapshots
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self.on_change: Callable[[], None] = lambda: None
        """Called when the disk use has changed."""
        self.failures = 0
        """Builds since the start that could not be completed."""
        self._flights: dict[str, tuple[_Flight, asyncio.Task[None]]] = {}
        self._making = WorkerThreads("environments", MOST_AT_ONCE, has_room=self._has_room)
        self._closing = False
        self._users = KeyedLocks()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._busy: set[str] = set()
        """Names of uv's caches that builds use now."""

    async def build(self, wanted: BuildRequest, attempt: str, progress: Progress) -> None:
        """Return when the environment is in the cache, held by the attempt. Raises PrepareError."""
        while (running := self._flights.get(wanted.id)) is not None and running[1].cancelling():
            await asyncio.wait({running[1]})
        if wanted.id not in self._flights:
            flight = _Flight()
            building = asyncio.create_task(self._run(wanted, flight))
            self._flights[wanted.id] = flight, building
            building.add_done_callback(lambda done: self._landed(wanted.id, done))
        flight, building = self._flights[wanted.id]
        flight.attempts[attempt] = progress
        if flight.sentence:
            progress(flight.sentence)
        try:
            await asyncio.shield(building)
        except asyncio.CancelledError:
            flight.attempts.pop(attempt, None)
            if not flight.attempts:
                # No attempt waits for it.
                building.cancel()
                while not building.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait({building})
            raise

    def __len__(self) -> int:
        """The running and queued builds."""
        return len(self._flights)

    def is_busy(self, packages: str) -> bool:
        """Return whether a build uses uv's cache of this name."""
        return packages in self._busy

    async def close(self) -> None:
        """End all builds."""
        self._closing = True
        active = [building for _, building in self._flights.values()]
        for each in active:
            each.cancel()
        await asyncio.gather(*active, return_exceptions=True)

    def _landed(self, environment_id: str, done: asyncio.Task[None]) -> None:
        del self._flights[environment_id]
        # Those who waited for it may all have left, so that nobody asks for the exception.
        if not done.cancelled() and done.exception() is not None:
            self.failures += 1

    async def _run(self, wanted: BuildRequest, flight: _Flight) -> None:
        name = wanted.source.path
        flight.report(f"waiting to build the environment of {name}")
        async with self._users.hold(wanted.user), self._places:
            flight.report(f"building the environment of {name}")
            packages = hashlib.sha256(repr((wanted.user, wanted.owner)).encode()).hexdigest()[:32]
            self._busy.add(packages)
            draft = self._cache.draft()
            try:
                await self._making.run(partial(self._begin, wanted, draft))
                failpoints.reach("environment_begun")
                await self._fill(wanted, draft, packages, flight.report)
                failpoints.reach("environment_installed")
                await self._keep(wanted, draft, packages, flight)
            except BuildFailed as failed:
                raise prepare_error(name, failed) from None
            except DamagedSnapshot:
                message = f"the files of snapshot {wanted.snapshot_id} are damaged: upload it again"
                raise PrepareError(message, permanent=True) from None
            except DiskFull:
                raise PrepareError(DiskFull.REASON, permanent=False) from None
            except OSError as error:
                if is_disk_full(error):
                    raise PrepareError(DiskFull.REASON, permanent=False) from None
                message = f"cannot build the environment: {error.strerror or error}"
                raise PrepareError(message, permanent=False) from error
            finally:
                await run_in_thread(self._cache.discard, draft)
                if packages in self._busy:
                    await self._count_after_failure(wanted, packages)
                self.on_change()

    def _has_room(self) -> bool:
        return free_bytes(self._cache.folder.parent) >= self._min_free_bytes

    def _begin(self, wanted: BuildRequest, draft: Path, check: Callable[[], None]) -> None:
        self._cache.begin(draft, wanted.owner, wanted.source.files)
        if wanted.source.versions:
            versions = draft / HOME / VERSIONS
            versions.write_text("\n".join(wanted.source.versions))
            versions.chmod(0o644)
        if wanted.source.needs_tree:
            self._snapshots.copy_to(wanted.snapshot_id, draft / SOURCE, wanted.owner, check)

    async def _fill(
        self, wanted: BuildRequest, draft: Path, packages: str, report: Progress
    ) -> None:
        """Let the builder run, and end it if it fills the disk."""
        if self._builder is None:
            raise PrepareError("environments are not available on this server", permanent=True)
        cache = await run_in_thread(self._cache.packages, packages, wanted.user, wanted.owner)
        build = Build(
            name=draft.name,
            folder=draft,
            cache=cache,
            image=wanted.image,
            owner=wanted.owner,
            kind=wanted.source.kind,
            path=wanted.source.path,
        )

        def progress(line: str) -> None:
            shown = without_passwords(line)
            report(f"building the environment: {shown}" if line else "")

        building = asyncio.ensure_future(self._builder.build(build, progress))
        pause = _LOOK_SECONDS
        try:
            while True:
                done, _ = await asyncio.wait({building}, timeout=pause)
                if done:
                    return building.result()
                began = time.monotonic()
                await self._check_size(draft, packages)
                pause = max(_LOOK_SECONDS, _LOOK_FACTOR * (time.monotonic() - began))
        finally:
            building.cancel()
            while not building.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({building})

    async def _check_size(self, draft: Path, packages: str) -> None:
        """Raises BuildFailed, PrepareError."""
        if not self._has_room():
            raise PrepareError(DiskFull.REASON, permanent=False)
        size = await run_in_thread(measure, draft, pause=True)
        growth = await run_in_thread(self._cache.growth, packages)
        _require_countable(max(size.files, growth.files))
        if size.bytes + growth.bytes > self._cache.most_bytes:
            most = format_size(self._cache.most_bytes)
            why = f"it is larger than the server's cache of {most} ([environments] cache_bytes)"
            raise BuildFailed(None, b"", why=why)

    async def _keep(
        self, wanted: BuildRequest, draft: Path, packages: str, flight: _Flight
    ) -> None:
        size = await run_in_thread(measure, draft / ENVIRONMENT, pause=True)
        _require_countable(size.files)
        record = Record(
            id=wanted.id,
            user=wanted.user,
            kind=wanted.source.kind,
            path=wanted.source.path,
            image=wanted.image,
            snapshot_id=wanted.snapshot_id,
            created_at=self._clock(),
            bytes=size.bytes,
            files=size.files,
        )
        await run_in_thread(self._cache.keep, draft, record)
        failpoints.reach("environment_kept")
        for attempt in list(flight.attempts):
            await run_in_thread(self._cache.hold, wanted.id, attempt)
            if attempt not in flight.attempts:  # It was cancelled meanwhile.
                await run_in_thread(self._cache.release, attempt)
        failpoints.reach("environment_held")
        if await self._count(wanted, packages):
            for attempt in list(flight.attempts):
                await run_in_thread(self._cache.release, attempt)
            await run_in_thread(self._cache.make_room, self.is_busy)
            raise PrepareError(
                "the server's cache is full of environments in use ([environments] cache_bytes)",
                permanent=False,
            )

    async def _count(self, wanted: BuildRequest, packages: str) -> int:
        """Measure uv's cache after a build, and make room; return the bytes that are too many."""
        try:
            await run_in_thread(self._cache.packages_used, packages, wanted.user)
        finally:
            self._busy.discard(packages)
        return await run_in_thread(self._cache.make_room, self.is_busy)

    async def _count_after_failure(self, wanted: BuildRequest, packages: str) -> None:
        """Measure what a failed build left: it may have filled uv's cache."""
        if self._closing:  # The next server builds it again.
            self._busy.discard(packages)
            return
        try:
            await self._count(wanted, packages)
        except OSError as error:
            log.warning("cannot measure uv's cache of %s: %s", wanted.user, error)


def _require_countable(files: int) -> None:
    """Raises BuildFailed for more files than are measured."""
    if files >= MOST_ENTRIES:
        raise BuildFailed(None, b"", why=f"it has more than {MOST_ENTRIES} files")
