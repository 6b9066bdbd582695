"""Delays signals that end a command until it can be interrupted safely.

Python runs a signal's handler between any two instructions. An exception from it can arrive between
creating something and being ready to remove it, or during the removal. So it is raised only inside
`interruptible`, and only once, so that it does not interrupt the cleanup.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Request:
    """State shared by the handler and the command."""

    def __init__(self) -> None:
        self.by: int | None = None
        self.may_end = False

    def note(self, number: int, _: FrameType | None) -> None:
        if self.by is None:
            self.by = number
        self.exit_if_requested()

    def exit_if_requested(self) -> None:
        if self.may_end and self.by is not None:
            self.may_end = False
            raise SystemExit(128 + self.by)


_request = _Request()


@contextmanager
def held_back() -> Iterator[None]:
    """Delay the signals while inside. In the main thread. A signal after the last `interruptible`
    has no effect."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    # Ignored signals stay ignored: nohup starts a command like that, and a shell with `&`.
    caught = {n: handler for n, handler in before.items() if handler not in {signal.SIG_IGN, None}}
    _request.by = None
    for number in caught:
        signal.signal(number, _request.note)
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, a signal raises SystemExit with the exit code that shells use for it, also one that
    came before. Has no effect outside of `held_back`."""
    _request.may_end = True
    try:
        _request.exit_if_requested()
        yield
    finally:
        _request.may_end = False
