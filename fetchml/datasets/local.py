"""The server's own datasets: files and folders below one root, which no link may leave."""

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from fetchml.core.requests.dataset import NAME
from fetchml.datasets.cache import format_size
from fetchml.ports.launcher import PrepareError
from fetchml.system.threads import UserThreads

MAX_SUMS = 10_000
MAX_LISTED = 10_000
"""Files of a dataset that are listed before a task starts."""
MAX_NAMES = 1_000
"""Names of datasets in one list."""
_CHUNK_BYTES = 8 << 20
_LOOKING_THREADS = 1
"""A request may have a hundred thousand folders in its paths."""


class LocalDatasets:
    """Looks up datasets below the root. Every method raises PrepareError."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._looking = UserThreads("dataset-paths", _LOOKING_THREADS)
        self._sums: dict[tuple[int, ...], str] = {}
        """Checksums of files, by the parts of their status that change with the content."""

    @property
    def is_set(self) -> bool:
        return self._root is not None

    async def names(self) -> list[str]:
        """Return the names of folders in the root that requests may use, up to MAX_NAMES."""
        root = self._root
        return [] if root is None else await asyncio.to_thread(_names, root)

    async def first_outside(self, user: str, locations: Sequence[str]) -> int | None:
        """Return the index of the first location outside of the root, links resolved; `None` if all
        are inside. Only links inside the root count, so that the existence of files outside is not
        revealed."""
        root = self._root
        if root is None:
            return 0
        return await self._looking.run(user, partial(_first_outside, root, locations))

    async def folder(self, name: str) -> Path:
        path = await self._find(name)
        if not await asyncio.to_thread(path.is_dir):
            raise PrepareError("it is not a folder", permanent=True)
        return path

    async def file_or_folder(self, location: str) -> tuple[Path, bool]:
        """Return the path, and whether it is a folder."""
        path = await self._find(location)
        with _readable():
            mode = (await asyncio.to_thread(path.stat)).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise PrepareError("it is neither a file nor a folder", permanent=True)
        return path, stat.S_ISDIR(mode)

    async def sha256(self, path: Path, progress: Callable[[str], None]) -> str:
        """Return the checksum of a file, which is read again only if it has changed."""
        with _readable():
            return await self._sum(path, progress)

    async def _sum(self, path: Path, progress: Callable[[str], None]) -> str:
        status = await asyncio.to_thread(path.stat)
        identity = (status.st_dev, status.st_ino, status.st_size)
        stamp = (*identity, status.st_mtime_ns, status.st_ctime_ns)
        if stamp in self._sums:
            return self._sums[stamp]
        progress(f"checking {path.name}: {format_size(status.st_size)}")
        digest = hashlib.sha256()
        with await asyncio.to_thread(path.open, "rb", buffering=0) as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                await asyncio.to_thread(digest.update, chunk)
        if len(self._sums) == MAX_SUMS:
            del self._sums[next(iter(self._sums))]
        self._sums[stamp] = digest.hexdigest()
        return self._sums[stamp]

    async def _find(self, location: str) -> Path:
        if self._root is None:
            message = "the server has no local datasets ([datasets] root is not set)"
            raise PrepareError(message, permanent=True)
        path = await asyncio.to_thread(_inside, self._root, location)
        if path is None:
            raise PrepareError("not found", permanent=True)
        return path


def listing_sum(path: Path) -> str | None:
    """Return the SHA-256 of the names, sizes and times of all files below a path, or of one file;
    `None` for more than MAX_LISTED, or what can't be read. Links are not followed."""
    lines: list[str] = []
    waiting = [path]
    try:
        while waiting:
            each = waiting.pop()
            status = each.stat() if each == path else each.lstat()
            if stat.S_ISDIR(status.st_mode):
                waiting += islice(each.iterdir(), MAX_LISTED + 1)
            else:
                name = "" if each == path else str(each.relative_to(path))
                lines.append(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n")
            if len(lines) + len(waiting) > MAX_LISTED:
                return None
    except OSError:
        return None
    listing = "".join(sorted(lines)).encode(errors="surrogateescape")
    return hashlib.sha256(listing).hexdigest()


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or "it fails"
        raise PrepareError(f"cannot read it: {why}", permanent=False) from error


def _names(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            usable = (entry for entry in entries if NAME.fullmatch(entry.name))
            names = islice((entry.name for entry in usable if entry.is_dir()), MAX_NAMES)
            return sorted(names)
    except OSError:
        return []


def _first_outside(root: Path, locations: Sequence[str], check: Callable[[], None]) -> int | None:
    resolved_root = root.resolve()
    for index, location in enumerate(locations):
        check()
        try:
            path = (root / location).resolve()
        except (OSError, RuntimeError):  # a loop of links leads nowhere
            return index
        if not path.is_relative_to(resolved_root):
            return index
    return None


def _inside(root: Path, location: str) -> Path | None:
    """Return the path, links resolved; `None` if it does not exist or lies outside: callers cannot
    distinguish the two."""
    try:
        path = (root / location).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return path if path.is_relative_to(root.resolve()) else None
