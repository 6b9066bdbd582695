"""Environments of tasks: packages that uv installs, once for each content and user.

A task's attempt holds its environment from `provide` to `release`. However many attempts ask for
the same one, it is built once; a build goes on as long as one of them waits for it.
"""

import asyncio
import logging
import subprocess
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fetchml.core.model import Environment, Task
from fetchml.environments.builds import Builds, Wanted
from fetchml.environments.cache import EnvironmentCache, Packages, Record
from fetchml.environments.key import environment_key
from fetchml.environments.sources import BadSource, EnvironmentSources, Source
from fetchml.environments.uv import UvVersion
from fetchml.files.storage.usage import StorageUsage
from fetchml.ports.environments import EnvironmentBuilder
from fetchml.ports.launcher import Mount, Owner, PrepareError
from fetchml.ports.task_environment import python_variables
from fetchml.system.background import BackgroundWork
from fetchml.system.threads import UserThreads, run_in_thread

MAX_FAULTS = 1000
"""Snapshots whose files were found valid, or not, and need not be read again."""
READING_THREADS = 1
"""Users decide how long the files of an environment take to read, up to a limit."""
REMOVING_THREADS = 1
"""An environment may have a hundred thousand files."""
_TRIES = 3
"""Attempts to build an environment that is removed again before the task holds it."""

log = logging.getLogger(__name__)


class Provided(NamedTuple):
    """The operations that a launcher needs for an environment."""

    mounts: tuple[Mount, ...]
    variables: Mapping[str, str]


NOTHING = Provided((), {})


class EnvironmentCounts(NamedTuple):
    """Of all users together; the last four since the start."""

    built: int
    building: int
    """Builds under way, or waiting for their turn."""
    bytes: int
    """Of environments and of uv's caches."""
    hits: int
    """Attempts that found their environment built."""
    misses: int
    """Attempts that had to wait for a build."""
    failures: int
    """Builds that could not be completed."""
    evicted: int
    """Environments removed to make room for others."""


class BuilderSettings(NamedTuple):
    """The configuration of environments on this server."""

    builder: EnvironmentBuilder
    uv: Path
    options: str
    """Changes whenever the settings lead uv to other packages."""
    offline: str | None
    """The reason why builds can get no packages at all; `None` if they can."""


class Environments:
    """Used from one event loop."""

    def __init__(
        self,
        sources: EnvironmentSources,
        cache: EnvironmentCache,
        builds: Builds,
        settings: BuilderSettings | None,
        *,
        usage: StorageUsage,
        why_none: str = "",
    ) -> None:
        """`settings`: `None` if this server builds no environments, and `why_none` is the
        reason."""
        self.cache = cache
        self.builds = builds
        self._sources = sources
        self._reading = UserThreads("environment-files", READING_THREADS)
        self._removing = UserThreads("environment-removals", REMOVING_THREADS)
        self._settings = settings
        self._why_none = why_none
        self._version = UvVersion(settings.uv) if settings is not None else None
        self._usage = usage
        builds.on_change = self._measured
        self._background = BackgroundWork()
        self._hits = 0
        self._misses = 0
        self._faults = OrderedDict[tuple[str, str, str], str | None]()

    @property
    def is_available(self) -> bool:
        """Whether tasks may have an environment here."""
        return self._settings is not None and self._settings.offline is None

    def counts(self) -> EnvironmentCounts:
        return EnvironmentCounts(
            built=len(self.cache.records()),
            building=len(self.builds),
            bytes=self.cache.size(),
            hits=self._hits,
            misses=self._misses,
            failures=self.builds.failures,
            evicted=self.cache.evicted,
        )

    async def open(self, live: frozenset[tuple[str, int]], instance_id: str) -> None:
        """Remove what an earlier server left. `live`: attempts (task id, number) that hold their
        environments. Before the first `provide`."""
        if self._settings is not None:
            await self._settings.builder.open(instance_id)
        names = frozenset(_lease(*each) for each in live)
        await asyncio.to_thread(self.cache.open, names)
        self._measured()
        self._background.start(self._remove_unfinished())

    async def _remove_unfinished(self) -> None:
        """Remove the folders of earlier builds, once none of these writes to them any more."""
        if self._settings is not None:
            await self._settings.builder.earlier_ended()
        try:
            await run_in_thread(self.cache.remove_unfinished)
        except OSError as error:
            log.warning("what an earlier server left of builds can't be removed: %s", error)

    async def close(self) -> None:
        """End the builds under way: the next server builds what is still wanted."""
        await self._background.cancel()
        await self.builds.close()
        if self._settings is not None:
            await self._settings.builder.close()

    async def fault(
        self, user: str, snapshot_id: str | None, environment: Environment
    ) -> str | None:
        """Return why a new task can't have this environment; `None` if it may be possible.

        Reads for one user wait for each other. A cancelled call ends at the next file.
        """
        source = environment.source
        if source is None or snapshot_id is None:
            return None
        if self._settings is None:
            return self._why_none
        if self._settings.offline is not None:
            return self._settings.offline
        key = (snapshot_id, *source)
        if key in self._faults:
            return self._faults[key]
        try:
            found = await self._read_fault(user, key)
        except OSError as error:  # It may pass, so it is not kept.
            return f"can't be read: {error.strerror or error}"
        self._faults[key] = found
        if len(self._faults) > MAX_FAULTS:
            self._faults.popitem(last=False)
        return found

    async def provide(self, task: Task, owner: Owner, progress: Callable[[str], None]) -> Provided:
        """Provide the environment of the task's current attempt until `release`. Raises
        PrepareError. Repeated calls for an attempt return the same."""
        environment, snapshot_id = task.spec.environment, task.spec.snapshot_id
        source = environment.source if environment is not None else None
        if source is None or snapshot_id is None:
            return NOTHING
        if self._settings is None or self._version is None:
            raise PrepareError(self._why_none, permanent=True)
        builder = self._settings.builder
        try:
            found = await self._read(task.user, (snapshot_id, *source))
            version = await self._version.get()
        except BadSource as error:
            raise PrepareError(str(error), permanent=True) from None
        except (OSError, subprocess.SubprocessError) as error:
            message = f"the environment can't be prepared: {error}"
            raise PrepareError(message, permanent=False) from error
        platform = await builder.platform(task.spec.image, progress)
        wanted = Wanted(
            id=environment_key(
                user=task.user,
                content=found.digest,
                uv_version=version,
                platform=platform.identity,
                options=self._settings.options,
                place=builder.place,
                owner=owner,
            ),
            user=task.user,
            image=task.spec.image,
            owner=owner,
            snapshot_id=snapshot_id,
            source=found,
        )
        lease = _lease(task.id, task.attempt)
        for number in range(_TRIES):
            path = await run_in_thread(self.cache.hold, wanted.id, lease)
            if number == 0:
                self._hits += path is not None
                self._misses += path is None
            if path is not None:
                return _provided(path, builder.place, task, platform.path)
            await self.builds.build(wanted, lease, progress)
        message = "the server's cache of environments is too small ([environments] cache_bytes)"
        raise PrepareError(message, permanent=False)

    async def release(self, task: Task) -> None:
        """Release what the task's current attempt holds."""
        await asyncio.to_thread(self.cache.release, _lease(task.id, task.attempt))

    def _measured(self) -> None:
        self._usage.environments_measured(self.cache.used())

    def old(self, before_ms: int) -> list[Record | Packages]:
        """Return the environments that nothing uses, and that were last used before that time."""
        unused = self.cache.unused(self.builds.is_busy)
        return [each for each in unused if each.used_ns // 1_000_000 <= before_ms]

    async def remove(self, doomed: Sequence[Record | Packages]) -> list[Record | Packages]:
        """Remove what nobody has begun to use meanwhile; returns it."""
        removed = [
            each
            for each in doomed
            if await self._removing.run(each.user, partial(self._remove, each))
        ]
        self._measured()
        return removed

    def _remove(self, doomed: Record | Packages, _: Callable[[], None]) -> bool:
        return self.cache.remove(doomed, self.builds.is_busy)

    async def _read_fault(self, user: str, key: tuple[str, str, str]) -> str | None:
        """Raises OSError."""
        try:
            await self._read(user, key)
        except BadSource as error:
            return str(error)
        return None

    async def _read(self, user: str, key: tuple[str, str, str]) -> Source:
        """Raises BadSource, OSError."""
        return await self._reading.run(user, lambda check: self._sources.read(*key, check))


def _provided(path: Path, place: str | None, task: Task, base: str) -> Provided:
    where = place or str(path)
    mounts = () if place is None else (Mount(path, place, read_only=True),)
    return Provided(mounts, python_variables(task, where, base))


def _lease(task_id: str, attempt: int) -> str:
    return f"{task_id}-{attempt}"
