"""Wakes coroutines that wait for a file to appear or grow, with one inotify instance."""

import asyncio
import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncinotify import Event, Inotify, Mask, Watch

from fetchml.system import processes
from fetchml.system.background import every

_APPEARS = (
    Mask.CREATE
    | Mask.MOVED_TO
    | Mask.CLOSE_WRITE  # A file is created first and filled then.
    | Mask.DELETE_SELF
    | Mask.ONLYDIR
    | Mask.DONT_FOLLOW
)
_POLL_SECONDS = 1.0

_INSTANCES = "fs.inotify.max_user_instances"
"""The sysctl that limits inotify instances by uid. The server needs one."""
_MOST_NAMED = 3

log = logging.getLogger(__name__)


class Changes:
    """One subscription: whether something changed since the last `wait`, or since `subscribe`."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        """Wait for a change; return immediately if there was one. Look first, wait, look again."""
        await self._changed.wait()
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()


@asynccontextmanager
async def _woken_at_times() -> AsyncIterator[Changes]:
    """Polling interval if the kernel provides no more watches: changes are late, but never
    missed."""
    changes = Changes()

    async def wake() -> None:
        changes.wake()

    async with every(_POLL_SECONDS, wake, first=_POLL_SECONDS, failure="no wake-up"):
        yield changes


class _Folder:
    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.subscribers: dict[Changes, bool] = {}
        """Each with whether it also waits for growing files."""


class FolderEvents:
    """`async with FolderEvents() as events`, then `events.subscribe` from that event loop."""

    async def __aenter__(self) -> Self:
        self._inotify: Inotify | None = None
        self._reader: asyncio.Task[None] | None = None
        self._warned = False
        self._folders: dict[int, _Folder] = {}
        self._instance()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inotify is None or self._reader is None:
            return
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        self._inotify.close()

    @asynccontextmanager
    async def subscribe(self, folder: Path, *, writes: bool = False) -> AsyncIterator[Changes]:
        """Wake when a file appears in `folder`; with `writes` also when one grows.

        There may be needless wake-ups, but none is missing: they also come when events were lost or
        the folder was removed. Raises OSError if the folder does not exist.
        """
        mask = _APPEARS | Mask.MODIFY if writes else _APPEARS
        watch = self._add_watch(folder, mask | Mask.MASK_ADD)
        if watch is None:
            async with _woken_at_times() as changes:
                yield changes
            return
        entry = self._folders.setdefault(watch.wd, _Folder(watch))
        changes = Changes()
        entry.subscribers[changes] = writes
        try:
            yield changes
        finally:
            del entry.subscribers[changes]
            self._narrow(entry, folder, writes)

    def _instance(self) -> Inotify | None:
        """Return the inotify instance; `None` if other processes of this uid hold all of them.

        The server works without one, so each subscription tries again.
        """
        if self._inotify is None:
            try:
                self._inotify = Inotify()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                if not self._warned:
                    self._warn(_why_no_instance_is_left())
                return None
            self._reader = asyncio.create_task(self._read(self._inotify))
        return self._inotify

    def _add_watch(self, folder: Path, mask: Mask) -> Watch | None:
        """Add a watch; `None` if none is available. Raises OSError if the folder does not exist."""
        inotify = self._instance()
        if inotify is None:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
            return None
        try:
            return inotify.add_watch(folder, mask)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._warn("No inotify watch is left: raise the sysctl fs.inotify.max_user_watches")
            return None

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s. Until then changes are seen up to %g s late", why, _POLL_SECONDS)

    def _narrow(self, entry: _Folder, folder: Path, had_writes: bool) -> None:
        """Stop events without subscribers: a busy log produces thousands in a second."""
        if self._inotify is None or self._folders.get(entry.watch.wd) is not entry:
            return
        with suppress(OSError):  # The kernel dropped the watch with the folder.
            if not entry.subscribers:
                del self._folders[entry.watch.wd]
                self._inotify.rm_watch(entry.watch)
            elif had_writes and not any(entry.subscribers.values()):
                # If another folder has this name now, the kernel drops this watch with it.
                self._inotify.add_watch(folder, _APPEARS)

    async def _read(self, inotify: Inotify) -> None:
        async for event in inotify:
            if Mask.Q_OVERFLOW in event:
                for folder in self._folders.values():
                    for changes in folder.subscribers:
                        changes.wake()
            else:
                self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        watch = event.watch
        entry = self._folders.get(watch.wd) if watch else None
        if watch is None or entry is None:
            return
        if Mask.IGNORED in event:
            del self._folders[watch.wd]
        only_growth = event.mask == Mask.MODIFY
        for changes, writes in entry.subscribers.items():
            if writes or not only_growth:
                changes.wake()


def _why_no_instance_is_left() -> str:
    """Return the limit, the processes that hold most instances, and the remedy. Reads all of
    /proc."""
    limit = Path("/proc/sys", _INSTANCES.replace(".", "/")).read_text().strip()
    by_process = Counter(
        {
            pid: _instances_of(pid)
            for pid in processes.pids()
            if processes.owner(pid) == os.geteuid()
        }
    )
    named = ", ".join(
        f"{processes.name(pid) or '?'} (process {pid}) {count}"
        for pid, count in by_process.most_common(_MOST_NAMED)
        if count
    )
    return (
        f"No inotify instance is left for uid {os.geteuid()}: its processes may have {limit}"
        + (f", and most are held by {named}" if named else "")
        + f". Raise the sysctl {_INSTANCES}, or end what holds them"
    )


def _instances_of(pid: int) -> int:
    """Count the inotify instances of a process; 0 if it is unreadable."""
    count = 0
    with suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # Closed meanwhile.
                count += str(fd.readlink()).endswith("inotify")
    return count
