"""Environments on the disk: each a folder that appears complete, or not at all.

<data-dir>/environments/
  ready/ID/environment/    a complete environment, which belongs to its user
  ready/ID/record          what it is, in JSON; its modification time is the last use
  new/                     what is being built or removed
  packages/USER/           uv's cache of one user, and USER.json with its size
  held/TASK-ATTEMPT        the id of the environment that an attempt uses

ID depends on the user and on all that uv gets, so no user ever runs what another's build made.
"""

import logging
import os
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from fetchml.core.storage import NOTHING, Used
from fetchml.files import untrusted
from fetchml.files.disk_usage import MOST_ENTRIES, measure
from fetchml.files.own_file import sync_folder, sync_tree, write_durably
from fetchml.ports.environment_builder import ENVIRONMENT, HOME, SOURCE
from fetchml.ports.launcher import Owner
from fetchml.system import failpoints

MAX_ENVIRONMENTS = 1000
"""Beyond this number the least recently used ones are removed."""
_RECORD_BYTES = 64 * 1024

T = TypeVar("T", bound=msgspec.Struct)

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True):
    """A complete environment. Stored as JSON; a field that is added later needs a default."""

    id: str
    user: str
    kind: str
    path: str
    image: str
    created_at: int
    """Milliseconds since the epoch (UTC)."""
    bytes: int
    files: int
    snapshot_id: str = ""
    """Snapshot of the task that asked first; empty if an older release built it."""
    used_ns: int = 0
    """The file's modification time, in nanoseconds."""


class Packages(msgspec.Struct, frozen=True):
    """uv's cache of one user."""

    user: str
    used_ns: int
    bytes: int
    files: int


class EnvironmentCache:
    """Every method may block for disk accesses, and may be called from any thread."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._ready, self._new = folder / "ready", folder / "new"
        self._packages_folder, self._held_folder = folder / "packages", folder / "held"
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._packages: dict[str, Packages] = {}
        """By the name of their folder."""
        self._held: dict[str, str] = {}
        """Ids of environments by attempt."""
        self.evicted = 0
        """Environments that were removed to make room since the start."""
        self._unfinished: list[Path] = []
        """Unfinished builds of an earlier server."""

    def open(self, live: frozenset[str]) -> None:
        """Find the environments on the disk, and release those of attempts that are not `live`.
        Raises OSError."""
        if not self.folder.exists():
            return  # It is created with the first environment.
        self._create()
        self._unfinished = list(self._new.iterdir())
        for each in self._ready.iterdir():
            record = _read(each / "record", Record)
            if record is None or record.id != each.name:
                self._move_away(each)
            else:
                used_ns = (each / "record").stat().st_mtime_ns
                self._records[record.id] = msgspec.structs.replace(record, used_ns=used_ns)
        for each in self._packages_folder.iterdir():
            if not each.is_dir():
                continue
            packages = _read(each.with_suffix(".json"), Packages)
            if packages is None:
                # It counts for no user, and would stay.
                self._unfinished.append(self._take_out(each))
            else:
                self._packages[each.name] = packages
        for each in self._held_folder.iterdir():
            if each.name in live:
                self._held[each.name] = each.read_text(errors="replace")[:64]
            else:
                each.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove unfinished environments of an earlier server, once none of its builds writes
        there. Raises OSError."""
        while self._unfinished:
            untrusted.remove(self._unfinished[-1])
            self._unfinished.pop()

    # Queries.

    def records(self) -> list[Record]:
        with self._lock:
            return list(self._records.values())

    def record(self, environment_id: str) -> Record | None:
        with self._lock:
            return self._records.get(environment_id)

    def use_counts(self) -> Mapping[str, int]:
        """Return the number of attempts that hold each environment, by its id."""
        with self._lock:
            return Counter(self._held.values())

    def size(self) -> int:
        """Return the bytes of all environments and of uv's caches."""
        with self._lock:
            return self._bytes()

    def used(self) -> Mapping[str, Used]:
        """Return the disk use of each user."""
        by_user: dict[str, Used] = {}
        with self._lock:
            every: list[Record | Packages] = [*self._records.values(), *self._packages.values()]
            for each in every:
                more = Used(each.bytes, each.files)
                by_user[each.user] = by_user.get(each.user, NOTHING).plus(more)
        return by_user

    # Use.

    def hold(self, environment_id: str, attempt: str) -> Path | None:
        """Keep an environment for an attempt until `release`; `None` if the cache has none."""
        with self._lock:
            record = self._records.get(environment_id)
            if record is None:
                return None
            if self._held.get(attempt) != environment_id:
                self._held_folder.mkdir(mode=0o700, exist_ok=True)
                (self._held_folder / attempt).write_text(environment_id)
                self._held[attempt] = environment_id
            now = time.time_ns()
            os.utime(self._ready / environment_id / "record", ns=(now, now))
            self._records[environment_id] = msgspec.structs.replace(record, used_ns=now)
            return self._ready / environment_id / ENVIRONMENT

    def release(self, attempt: str) -> None:
        with self._lock:
            if self._held.pop(attempt, None) is not None:
                (self._held_folder / attempt).unlink(missing_ok=True)

    # Building.

    def draft(self) -> Path:
        """Return the path of a new build, where nothing is yet."""
        return self._new / uuid.uuid4().hex

    def begin(self, draft: Path, owner: Owner, files: Mapping[str, bytes]) -> None:
        """Create the folder of a new build, with `files` in SOURCE. Raises OSError."""
        self._create()
        draft.mkdir(0o700)
        for name in (SOURCE, ENVIRONMENT, HOME):
            (draft / name).mkdir()
        for name, content in files.items():
            path = draft / SOURCE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            for folder in (path, *path.relative_to(draft / SOURCE).parents):
                _hand_over(draft / SOURCE / folder, owner)
        for name in (SOURCE, ENVIRONMENT, HOME):
            _hand_over(draft / name, owner)

    def packages(self, name: str, user: str, owner: Owner) -> Path:
        """Return uv's cache of a user, whose folder has this name. Raises OSError."""
        folder = self._packages_folder / name
        if name not in self._packages:
            # Recorded before the first build, so that it is removed and counted whatever happens.
            self._record_packages(name, Packages(user, time.time_ns(), 0, 0))
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _hand_over(folder, owner)
        return folder

    def growth(self, name: str) -> Used:
        """Measure uv's cache of a user during a build: its present files, and the bytes more than
        after the build before."""
        now = measure(self._packages_folder / name, pause=True)
        return Used(max(0, now.bytes - self._packages[name].bytes), now.files)

    def keep(self, draft: Path, record: Record) -> None:
        """Put a build in its place; durable on return. Raises OSError."""
        for name in (SOURCE, HOME):
            untrusted.remove(draft / name)
        (draft / "record").write_bytes(msgspec.json.encode(record))
        sync_tree(draft)
        failpoints.reach("environment_recorded")
        target = self._ready / record.id
        with self._lock:
            if record.id in self._records:
                return
            if os.path.lexists(target):
                self._move_away(target)
            draft.rename(target)
            sync_folder(self._ready)
            self._records[record.id] = record

    def packages_used(self, name: str, user: str) -> None:
        """Measure uv's cache of a user after a build. Raises OSError.

        One with more files than are counted is removed: its size is unknown.
        """
        if name not in self._packages:
            return  # The build failed before.
        size = measure(self._packages_folder / name, pause=True)
        if size.files >= MOST_ENTRIES:
            with self._lock:
                doomed = self._forget_packages(name)
            untrusted.remove(doomed)
            return
        self._record_packages(name, Packages(user, time.time_ns(), size.bytes, size.files))

    def _record_packages(self, name: str, packages: Packages) -> None:
        with self._lock:
            self._packages[name] = packages
        write_durably(self._packages_folder / f"{name}.json", msgspec.json.encode(packages))

    def discard(self, draft: Path) -> None:
        untrusted.remove(draft)

    # Room.

    def make_room(self, busy: Callable[[str], bool]) -> int:
        """Remove the least recently used environments and caches of uv until the rest is small
        enough; returns the bytes that are still too many. `busy`: a cache of this name is in use.

        Raises OSError.
        """
        while True:
            with self._lock:
                over = self._bytes() - self.most_bytes
                if over <= 0 and len(self._records) <= MAX_ENVIRONMENTS:
                    return 0
                in_use = set(self._held.values())
                unused: list[tuple[int, bool, str]] = [
                    (each.used_ns, False, each.id)
                    for each in self._records.values()
                    if each.id not in in_use
                ]
                if over > 0:
                    unused += [
                        (each.used_ns, True, name)
                        for name, each in self._packages.items()
                        if not busy(name)
                    ]
                if not unused:
                    return max(over, 0)
                _, is_packages, name = min(unused)
                self.evicted += not is_packages
                doomed = self._forget_packages(name) if is_packages else self._forget(name)
            log.info("removed from the cache of environments: %s", name)
            untrusted.remove(doomed)

    def unused(self, busy: Callable[[str], bool]) -> list[Record | Packages]:
        """Return the environments that no attempt holds. `busy`: as for `make_room`."""
        with self._lock:
            in_use = set(self._held.values())
            unused: list[Record | Packages] = [
                each for each in self._records.values() if each.id not in in_use
            ]
            return unused + [each for name, each in self._packages.items() if not busy(name)]

    def remove(self, doomed: Record | Packages, busy: Callable[[str], bool]) -> bool:
        """Remove an environment, or uv's cache of a user; return false if it is in use or gone.
        `busy`: as for `make_room`. Raises OSError."""
        with self._lock:
            if isinstance(doomed, Record):
                if doomed.id not in self._records or doomed.id in self._held.values():
                    return False
                path = self._forget(doomed.id)
            else:
                names = [name for name, each in self._packages.items() if each == doomed]
                if not names or busy(names[0]):
                    return False
                path = self._forget_packages(names[0])
        untrusted.remove(path)
        return True

    def _create(self) -> None:
        for folder in (
            self.folder,
            self._ready,
            self._new,
            self._packages_folder,
            self._held_folder,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _bytes(self) -> int:
        environments = sum(each.bytes for each in self._records.values())
        return environments + sum(each.bytes for each in self._packages.values())

    def _forget(self, environment_id: str) -> Path:
        """Move it out of the cache; returns the folder to remove."""
        del self._records[environment_id]
        return self._take_out(self._ready / environment_id)

    def _forget_packages(self, name: str) -> Path:
        del self._packages[name]
        (self._packages_folder / f"{name}.json").unlink(missing_ok=True)
        return self._take_out(self._packages_folder / name)

    def _take_out(self, path: Path) -> Path:
        doomed = Path(tempfile.mkdtemp(dir=self._new))
        with suppress(FileNotFoundError):
            path.rename(doomed / path.name)
        return doomed

    def _move_away(self, path: Path) -> None:
        untrusted.remove(self._take_out(path))


def _hand_over(path: Path, owner: Owner) -> None:
    """Give a path to `owner`; if `None`, the image decides the user, and everybody has access."""
    is_folder = path.is_dir()
    if owner is None:
        path.chmod(0o777 if is_folder else 0o666)
        return
    if owner != (os.geteuid(), os.getegid()):
        os.chown(path, *owner)
    path.chmod(0o700 if is_folder else 0o600)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_RECORD_BYTES), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
