"""Wakes those who wait for a file to appear or grow. One inotify instance for the whole program."""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncinotify import Event, Inotify, Mask, Watch

from fetchml.system import inotify_limits
from fetchml.system.background import every

_APPEARS = (
    Mask.CREATE
    | Mask.MOVED_TO
    | Mask.CLOSE_WRITE  # created first and filled then: look again when it is whole
    | Mask.DELETE_SELF
    | Mask.ONLYDIR
    | Mask.DONT_FOLLOW
)
_LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class Changes:
    """One subscriber's view: something changed since the last `wait`, or since `subscribe`."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        """Return at once if something changed meanwhile. Look first, then wait, then look again."""
        await self._changed.wait()
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()


@asynccontextmanager
async def _woken_at_times() -> AsyncIterator[Changes]:
    """Where the kernel gives no more watches: late, but never missed."""
    changes = Changes()

    async def wake() -> None:
        changes.wake()

    async with every(_LOOK_SECONDS, wake, first=_LOOK_SECONDS, failure="no wake-up"):
        yield changes


class _Folder:
    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.subscribers: dict[Changes, bool] = {}
        """Each with whether it also wants to know of growing files."""


class FolderEvents:
    """`async with FolderEvents() as watch`, then `watch.subscribe` from that event loop."""

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
        """Wake when a file appears in `folder`; with `writes` also when one grows there.

        A wake-up may be one too many, never one too few: it also comes when events were lost or
        the folder went. Raises OSError when there is no such folder.
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
        """None: the kernel has none for this uid, since others of it have used them up. That must
        not keep the server from its work, so it is tried again with each subscription."""
        if self._inotify is None:
            try:
                self._inotify = Inotify()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                if not self._warned:
                    self._warn(inotify_limits.why_none_is_left())
                return None
            self._reader = asyncio.create_task(self._read(self._inotify))
        return self._inotify

    def _add_watch(self, folder: Path, mask: Mask) -> Watch | None:
        """None: there is none to be had. Raises OSError when there is no such folder."""
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
            log.warning("%s. Until then changes are seen up to %g s late", why, _LOOK_SECONDS)

    def _narrow(self, entry: _Folder, folder: Path, had_writes: bool) -> None:
        """Stop the events that nobody wants any more: a busy log has thousands in a second."""
        if self._inotify is None or self._folders.get(entry.watch.wd) is not entry:
            return
        with suppress(OSError):  # the kernel dropped the watch meanwhile, with the folder
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
                self._tell(event)

    def _tell(self, event: Event) -> None:
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
