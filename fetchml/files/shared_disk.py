"""Access to a disk that the nodes of a cluster share, which may be slow or hang."""

import asyncio
import errno
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

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
        """Takes longer than the limit, and goes on."""


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
        """Whether no call has taken longer than the limit and goes on."""
        return self._stuck == 0

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Return what `function` returns. Raises OSError after LIMIT_SECONDS, and what it
        raises."""
        if self._stuck >= THREADS:  # Nothing more waits for a disk that hangs.
            raise TimeoutError("the shared disk does not answer")
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
            if not answer.cancelled():  # Else the thread goes on, and may be stuck.
                timer.cancel()

    def _give_up(self, call: _Call) -> None:
        if call.has_begun and not call.is_over:
            call.is_stuck = True
            self._stuck += 1
        if not call.answer.done():
            message = f"the shared disk did not answer in {LIMIT_SECONDS:g} s"
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
    return OSError(errno.ESTALE, "it is not the folder that it was: is it mounted?", str(path))
