"""Signals that end a command, held back but where it can be left at any moment.

Python runs a signal's handler between any two instructions. An exception from there can come
between making something and being ready to remove it, or in the middle of removing it. So it comes
only inside `interruptible`, and once: what follows is the cleaning up. SIGKILL ends that too.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Asked:
    """What the handler and the command know of each other."""

    def __init__(self) -> None:
        self.by: int | None = None
        self.may_end = False

    def note(self, number: int, _: FrameType | None) -> None:
        if self.by is None:
            self.by = number
        self.end_if_asked()

    def end_if_asked(self) -> None:
        if self.may_end and self.by is not None:
            self.may_end = False
            raise SystemExit(128 + self.by)


_asked = _Asked()


@contextmanager
def held_back() -> Iterator[None]:
    """Around a command, in the main thread. One that is asked to end when all is done has done
    what it was for."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    # What is ignored stays so: nohup starts a command like that, and a shell one with `&`.
    caught = {n: handler for n, handler in before.items() if handler not in {signal.SIG_IGN, None}}
    _asked.by = None
    for number in caught:
        signal.signal(number, _asked.note)
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, a signal raises SystemExit with the exit code that shells know it by, also one that
    came before. Outside of `held_back` it changes nothing."""
    _asked.may_end = True
    try:
        _asked.end_if_asked()
        yield
    finally:
        _asked.may_end = False
