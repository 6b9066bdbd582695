"""Environments of tasks: packages that uv installs, once for each content and user.

A task's attempt holds its environment from `provide` to `release`. However many attempts ask for
the same one, it is built once; a build goes on as long as one of them waits for it. Users list and
remove the environments that the cache keeps.
"""

import asyncio
import hashlib
import logging
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Environment, Principal, Task
from fetchml.core.requests.listing import DEFAULT_LIMIT, page_fault
from fetchml.environments.builds import BuildRequest, Builds
from fetchml.environments.cache import EnvironmentCache, Packages, Record
from fetchml.environments.sources import BadSource, EnvironmentSources, Source
from fetchml.errors import BadRequest, Conflict, Forbidden, NotFound
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.environment_builder import EnvironmentBuilder
from fetchml.ports.launcher import Mount, Owner, PrepareError
from fetchml.ports.task_environment import python_variables
from fetchml.system.background import BackgroundWork
from fetchml.system.threads import UserThreads, run_in_thread

SCHEME = 1
"""Changes when the same files would be installed in another way."""


def environment_key(
    *,
    user: str,
    content: str,
    uv_version: str,
    platform: str,
    options: str,
    mount_path: str | None,
    owner: Owner,
) -> str:
    """Return the key as 64 hexadecimal digits.

    user: nobody gets packages that another user's files built.
    content: digest of the files that list the packages, the lock file among them.
    platform: identity of the image's Python and C library. The name of the image is left out:
        images with the same Python share an environment.
    options: settings of the server that lead uv to other packages.
    place: path of the environment inside of a task, which scripts of packages contain; `None`: it
        stays where it was built.
    owner: uid and gid of the files.
    """
    parts = (SCHEME, user, content, uv_version, platform, options, mount_path, owner)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


_SECONDS = 20
MISSING = (
    "uv is not installed here. Install it ('pip install uv', or any other way), or set "
    "[environments] uv to its path"
)


def find_uv(setting: Path | None) -> Path | None:
    """Return the path of uv: the one that is set, else the one that was installed with FetchML,
    else the first on PATH; `None` if there is none."""
    if setting is not None:
        return setting.absolute() if setting.is_file() else None
    beside = Path(sys.executable).parent / "uv"
    if not getattr(sys, "frozen", False) and beside.is_file():
        return beside
    path = shutil.which("uv")
    return Path(path).absolute() if path else None


class UvVersion:
    """Asks uv for its version, once for each binary."""

    def __init__(self, uv: Path) -> None:
        self._uv = uv
        self._known: tuple[int, str] | None = None

    async def get(self) -> str:
        """Raises OSError, subprocess.SubprocessError."""
        return await asyncio.to_thread(self._get)

    def _get(self) -> str:
        changed = self._uv.stat().st_mtime_ns
        if self._known is None or self._known[0] != changed:
            command = [str(self._uv), "--version"]
            done = subprocess.run(
                command, check=True, capture_output=True, timeout=_SECONDS, env={}
            )
            self._known = changed, done.stdout.decode(errors="replace").strip()
        return self._known[1]


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
    folder: Path | None = None
    """Where the packages are; `None` if the task has none."""


NOTHING = Provided((), {})


class EnvironmentCounts(NamedTuple):
    """Of all users together; the last four since the start."""

    built: int
    building: int
    """Running and queued builds."""
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
            log.warning("cannot remove the remains of earlier builds: %s", error)

    async def close(self) -> None:
        """End the running builds: the next server builds what is still needed."""
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
            result = await self._read_fault(user, key)
        except OSError as error:  # It may pass, so it is not kept.
            return f"cannot be read: {error.strerror or error}"
        self._faults[key] = result
        if len(self._faults) > MAX_FAULTS:
            self._faults.popitem(last=False)
        return result

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
            files = await self._read(task.user, (snapshot_id, *source))
            files = files.limited_to(environment.versions if environment is not None else ())
            version = await self._version.get()
        except BadSource as error:
            raise PrepareError(str(error), permanent=True) from None
        except (OSError, subprocess.SubprocessError) as error:
            message = f"cannot prepare the environment: {error}"
            raise PrepareError(message, permanent=False) from error
        platform = await builder.platform(task.spec.image, progress)
        wanted = BuildRequest(
            id=environment_key(
                user=task.user,
                content=files.digest,
                uv_version=version,
                platform=platform.identity,
                options=self._settings.options,
                mount_path=builder.mount_path,
                owner=owner,
            ),
            user=task.user,
            image=task.spec.image,
            owner=owner,
            snapshot_id=snapshot_id,
            source=files,
        )
        lease = _lease(task.id, task.attempt)
        for number in range(_TRIES):
            path = await run_in_thread(self.cache.hold, wanted.id, lease)
            if number == 0:
                self._hits += path is not None
                self._misses += path is None
            if path is not None:
                return _provided(path, builder.mount_path, task, platform.path)
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
        """Remove and return those that no task has started to use meanwhile."""
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


def _provided(path: Path, mount_path: str | None, task: Task, base: str) -> Provided:
    where = mount_path or str(path)
    mounts = () if mount_path is None else (Mount(path, mount_path, read_only=True),)
    return Provided(mounts, python_variables(task, where, base), path)


def _lease(task_id: str, attempt: int) -> str:
    return f"{task_id}-{attempt}"


_USED = "The environment is in use by tasks: remove it when they have ended"


class CachedEnvironment(NamedTuple):
    record: Record
    tasks: int
    """Number of tasks that hold it now."""


class EnvironmentPage(NamedTuple):
    environments: Sequence[CachedEnvironment]
    """The last used first."""
    total: int
    """All that match and that the caller may see."""


class CachedEnvironments:
    """Used from one event loop. Verbs raise `errors.RequestError`.

    An environment is visible to its user and to admins, whether the server is private or not.
    """

    def __init__(self, environments: Environments, audit: Audit) -> None:
        self._environments = environments
        self._audit = audit

    def counts(self) -> EnvironmentCounts:
        return self._environments.counts()

    def page(
        self,
        who: Principal,
        *,
        user: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> EnvironmentPage:
        """Return the environments that `who` may see, the last used first."""
        limit = DEFAULT_LIMIT if limit is None else limit
        offset = offset or 0
        if fault := page_fault(limit, offset):
            raise BadRequest(fault)
        cache = self._environments.cache
        environments = [
            each
            for each in cache.records()
            if permissions.may_see(who, each, private=True) and user in (None, each.user)
        ]
        environments.sort(key=lambda each: (each.used_ns, each.id), reverse=True)
        in_use = cache.use_counts()
        shown = environments[offset : offset + limit]
        return EnvironmentPage(
            [CachedEnvironment(e, in_use.get(e.id, 0)) for e in shown], len(environments)
        )

    async def delete(self, who: Principal, environment_id: str) -> None:
        """Remove an environment that no task holds. Raises NotFound, Forbidden, Conflict."""
        cache = self._environments.cache
        record = cache.record(environment_id)
        unknown = NotFound(f"Environment {environment_id[:64]!r} not found")
        if record is None or not permissions.may_see(who, record, private=True):
            raise unknown
        if not permissions.may_change(who, record):
            raise Forbidden("Only its user and admins may remove an environment")
        if not await self._environments.remove([record]):
            # Another request, or the limit of the cache, may have removed it meanwhile.
            raise unknown if cache.record(environment_id) is None else Conflict(_USED)
        detail = f"{record.kind} {record.path}"
        await self._audit.done(who, Action.ENVIRONMENT_DELETE, record.id, detail)
