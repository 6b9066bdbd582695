"""The cache of fetched datasets: each content is on the disk once, for all who use it.

`content/<sha256>`    complete and verified, read-only.
`partial/`            downloads in progress.
`held/<attempt>/<n>`  a hard link to the content that an attempt uses.

The file system counts the links, so what is in use is known even while no server runs, and a held
content stays complete when its entry in `content` is removed.
"""

import hashlib
import logging
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from fetchml.errors import DiskFull
from fetchml.files.disk_usage import free_bytes, is_disk_full
from fetchml.ports.launcher import PrepareError

_INTACT_NS = 1_000_000_000
"""The modification time of every content. A write, as by a task without isolation, changes it, and
the content is dropped."""
_STEP_BYTES = 64 << 20
"""Space that is reserved at a time for a download of unknown length."""

MAX_CONTENTS = 10_000
"""Contents besides those in use. Making space examines each of them while other fetches wait."""

log = logging.getLogger(__name__)


class DatasetCache:
    """Every method may block for a disk access, and may be called from any thread."""

    def __init__(self, folder: Path, *, most_bytes: int, min_free_bytes: int) -> None:
        """`min_free_bytes`: space that stays free on the disk for everything else."""
        self.folder = folder
        self._content = folder / "content"
        self._partial = folder / "partial"
        self._held = folder / "held"
        self._most_bytes = most_bytes
        self._min_free_bytes = min_free_bytes
        self._room = threading.Lock()

    def open(self, live: frozenset[str]) -> None:
        """Remove what an earlier server left: drafts, and links of attempts that are not `live`."""
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in (self._content, self._partial, self._held):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for attempt in self._held.iterdir():
            if attempt.name not in live:
                self.release(attempt.name)

    def pinned(self, attempt: str, number: int) -> Path | None:
        """Return what the attempt already holds as its dataset of this number, or `None`."""
        path = self._held / attempt / str(number)
        return path if path.exists() else None

    def hold(self, sha256: str, attempt: str, number: int) -> Path | None:
        """Keep a content for an attempt until `release`; `None` if the cache does not have it."""
        content = self._content / sha256
        path = self._held / attempt / str(number)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not self.has(sha256):
            return None
        try:
            os.utime(content, ns=(time.time_ns(), _INTACT_NS))
            path.hardlink_to(content)
        except FileNotFoundError:
            return None
        except FileExistsError:
            pass
        return path

    def has(self, sha256: str) -> bool:
        """Return whether the cache has the content, as it was fetched."""
        content = self._content / sha256
        try:
            if content.lstat().st_mtime_ns == _INTACT_NS:
                return True
        except FileNotFoundError:
            return False
        log.warning("removed a modified dataset from the cache: %s", sha256)
        content.unlink(missing_ok=True)
        return False

    def release(self, attempt: str) -> None:
        shutil.rmtree(self._held / attempt, ignore_errors=True)

    def draft(self) -> "Draft":
        return Draft(self, self._partial)

    def keep(self, draft: Path, sha256: str) -> None:
        """Put a draft, which is durable, in its place."""
        draft.chmod(0o444)
        os.utime(draft, ns=(time.time_ns(), _INTACT_NS))
        draft.rename(self._content / sha256)

    def extend(self, fd: int, size: int, new_size: int) -> None:
        """Reserve space for a draft to grow; removes the least recently used contents if necessary.

        Raises PrepareError.
        """
        with self._room:
            self._make_room(new_size - size, new_size)
            try:
                os.posix_fallocate(fd, size, new_size - size)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                raise _disk_full() from None

    def _make_room(self, more: int, file_size: int) -> None:
        if file_size > self._most_bytes:
            raise PrepareError(
                f"it is larger than the server's cache of {format_size(self._most_bytes)} "
                "([datasets] cache_bytes)",
                permanent=True,
            )
        contents = self._statuses(self._content)
        unused = sorted(
            (status.st_atime_ns, status.st_size, path)
            for path, status in contents
            if status.st_nlink == 1
        )
        # Contents that were dropped while attempts use them take space as well.
        folders = (self._partial, *self._held.iterdir())
        elsewhere = [file for folder in folders for file in self._statuses(folder)]
        sizes = {status.st_ino: status.st_size for _, status in (*contents, *elsewhere)}
        over_limit = sum(sizes.values()) + more - self._most_bytes
        over_disk = more + self._min_free_bytes - free_bytes(self.folder)
        missing = max(over_limit, over_disk)
        too_many = len(unused) - MAX_CONTENTS + 1
        if missing > sum(size for _, size, _ in unused):
            if over_disk >= over_limit:
                raise _disk_full()
            raise PrepareError("the server's cache is full of datasets in use", permanent=False)
        for number, (_, size, path) in enumerate(unused):
            if missing <= 0 and number >= too_many:
                break
            path.unlink(missing_ok=True)
            missing -= size
            log.info("removed from the cache of datasets: %s", path.name)

    @staticmethod
    def _statuses(folder: Path) -> list[tuple[Path, os.stat_result]]:
        """Return the status of each file of a folder; files that vanish meanwhile are omitted."""
        statuses = []
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    statuses.append((folder / entry.name, entry.stat(follow_symlinks=False)))
        return statuses


class Draft:
    """A download in progress. Used by one thread at a time."""

    _fd: int
    _path: Path

    def __init__(self, cache: DatasetCache, folder: Path) -> None:
        self._cache = cache
        self._folder = folder
        self._is_open = False
        self._size = 0
        """Bytes of disk space that are reserved."""
        self._digest = hashlib.sha256()
        self.written = 0

    def open(self) -> None:
        self._fd, path = mkstemp(dir=self._folder)
        self._path = Path(path)
        self._is_open = True

    def reserve(self, size: int) -> None:
        """Reserve the space for `size` bytes in total. Raises PrepareError."""
        if size > self._size:
            self._cache.extend(self._fd, self._size, size)
            self._size = size

    def write(self, data: bytes) -> None:
        """Append. Raises PrepareError, OSError."""
        end = self.written + len(data)
        if end > self._size:
            self.reserve(max(end, self._size + _STEP_BYTES))
        rest = memoryview(data)
        while rest:
            rest = rest[os.pwrite(self._fd, rest, end - len(rest)) :]
        self._digest.update(data)
        self.written = end

    def restart(self) -> None:
        """Start over at the first byte."""
        self._digest = hashlib.sha256()
        self.written = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def keep(self) -> None:
        """Put the complete content into the cache; durable on return. Raises OSError."""
        os.ftruncate(self._fd, self.written)
        os.fsync(self._fd)
        self._cache.keep(self._path, self.sha256)

    def discard(self) -> None:
        """Release the draft. Call it in any case, also after `keep`."""
        if self._is_open:
            os.close(self._fd)
            self._path.unlink(missing_ok=True)


def format_size(size: int) -> str:
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            number = size / factor
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{size} bytes"


def _disk_full() -> PrepareError:
    return PrepareError(DiskFull.REASON, permanent=False)
