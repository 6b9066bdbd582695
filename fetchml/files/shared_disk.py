"""Access to a disk that the nodes of a cluster share, which may be slow or hang."""

import asyncio
import errno
import os
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from fetchml.files.folder_events import Changes, FolderEvents

_LOCAL = frozenset(["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs", "zfs"])
"""File systems of this machine's own disks. Others may show late what another machine has written;
those that are not known here count as such."""
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def is_local(folder: Path) -> bool:
    """Return whether a folder is on a disk of this machine, also if others use it through a server
    here. Raises OSError."""
    return kind_of(os.path.realpath(folder), _MOUNTS.read_text(errors="surrogateescape")) in _LOCAL


def kind_of(path: str, mounts: str) -> str:
    """Return the type of the file system of a path without links, by the text of `mountinfo`
    (proc_pid_mountinfo(5)); empty if it is not there."""
    kind, longest = "", -1
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        mount = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # Of two mounts at the same path the later one hides the other.
        if f"{path}/".startswith(f"{mount.rstrip('/')}/") and len(mount) >= longest:
            kind, longest = types[0], len(mount)
    return kind


T = TypeVar("T")

THREADS = 16
LIMIT_SECONDS = 10.0
GROWTH_SECONDS = 0.02
"""A call that has waited this long gets one more thread. A fast disk needs one thread: more of them
would only contend for the interpreter with each other and with the event loop."""
_FAULTS = frozenset(
    [
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ENODEV,
        errno.ENXIO,
        errno.EREMOTEIO,
        errno.EROFS,
        errno.ESHUTDOWN,
    ]
)
"""Errors of the disk itself: they pass, and mean no missing file."""


class _Call:
    """A function that is called in a thread."""

    def __init__(self, function: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self.function = function
        self.answer = answer
        self.has_begun = False
        self.is_over = False
        self.is_stuck = False
        """Takes longer than the limit, and continues."""


class SharedDisk:
    """Calls blocking functions in threads of its own. Used from one event loop.

    A thread can't be stopped, so a disk that hangs keeps all of these threads, and no others.
    Threads take the next call by themselves, and give answers in groups: under load a call costs no
    wake-up of a thread, and little of the event loop.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "shared-disk")
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._busy = 0
        """Threads at work."""
        self._answers: deque[tuple[_Call, Any, Exception | None]] = deque()
        self._answers_announced = False
        self._growth_is_due = False
        self._stuck = 0
        """Threads whose call has taken longer than the limit."""

    @property
    def answers(self) -> bool:
        """Whether no running call exceeds the limit."""
        return self._stuck == 0

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Return what `function` returns. Raises OSError after LIMIT_SECONDS, and what it
        raises."""
        if self._stuck >= THREADS:  # Nothing more waits for a disk that hangs.
            raise TimeoutError("no response from the shared folder")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        call = _Call(function, answer)
        with self._lock:
            self._waiting.append(call)
            is_first = self._busy == 0
            self._busy += is_first
        if is_first:
            self._pool.submit(self._work, loop)
        elif not self._growth_is_due:
            self._growth_is_due = True
            loop.call_later(GROWTH_SECONDS, self._grow, loop)
        timer = loop.call_later(LIMIT_SECONDS, self._give_up, call)
        try:
            return await answer
        finally:
            if not answer.cancelled():  # Otherwise the thread continues, and may be stuck.
                timer.cancel()

    def _give_up(self, call: _Call) -> None:
        if call.has_begun and not call.is_over:
            call.is_stuck = True
            self._stuck += 1
        if not call.answer.done():
            message = f"timed out after {LIMIT_SECONDS:g} s: no response from the shared folder"
            call.answer.set_exception(TimeoutError(message))

    def _grow(self, loop: asyncio.AbstractEventLoop) -> None:
        self._growth_is_due = False
        with self._lock:
            is_needed = bool(self._waiting) and self._busy < THREADS
            self._busy += is_needed
        if is_needed:
            self._pool.submit(self._work, loop)
            self._growth_is_due = True
            loop.call_later(GROWTH_SECONDS, self._grow, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: call what waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                call = self._waiting.popleft()
                if call.answer.done():  # Its caller has given up.
                    continue
                call.has_begun = True
            result, failure = None, None
            try:
                result = call.function()
            except Exception as error:  # noqa: BLE001 - it is for the caller
                failure = error
            if call.answer.done():
                result = None  # Freed here: an open file is closed by that, which may hang too.
            self._answers.append((call, result, failure))
            if not self._answers_announced:
                self._answers_announced = True
                with suppress(RuntimeError):  # The server has stopped meanwhile.
                    loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        self._answers_announced = False
        while self._answers:
            call, result, failure = self._answers.popleft()
            call.is_over = True
            self._stuck -= call.is_stuck
            if call.answer.done():
                continue
            if failure is not None:
                call.answer.set_exception(failure)
            else:
                call.answer.set_result(result)


def is_fault(error: BaseException | None) -> bool:
    """Whether the disk caused an error, directly or as the cause of another one."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        if isinstance(error, OSError):
            return error.errno in _FAULTS
        error = error.__cause__
    return False


def not_mounted(path: object) -> OSError:
    """The error for a folder that is not the one that it was."""
    return OSError(errno.ESTALE, "it is another folder than before: is it mounted?", str(path))


_LATE_GROWTH_SECONDS = 0.5
_LATE_APPEARS_SECONDS = 30.0
"""Polling interval, in case `wake` is not called."""


class SharedFolders(FolderEvents):
    def __init__(self) -> None:
        self._subscribed: dict[Path, set[Changes]] = {}

    @asynccontextmanager
    async def subscribe(self, folder: Path, *, writes: bool = False) -> AsyncIterator[Changes]:
        """Wake at times, and when `wake` is called for this folder. It need not exist."""
        changes = Changes()
        seconds = _LATE_GROWTH_SECONDS if writes else _LATE_APPEARS_SECONDS

        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def wake_at_times() -> None:
            nonlocal timer
            changes.wake()
            timer = loop.call_later(seconds, wake_at_times)

        timer = loop.call_later(seconds, wake_at_times)
        here = self._subscribed.setdefault(folder, set())
        here.add(changes)
        try:
            yield changes
        finally:
            timer.cancel()
            here.discard(changes)
            if not here and self._subscribed.get(folder) is here:
                del self._subscribed[folder]

    def wake(self, folder: Path) -> None:
        """Wake all that wait for something in this folder."""
        for changes in self._subscribed.get(folder, ()):
            changes.wake()
