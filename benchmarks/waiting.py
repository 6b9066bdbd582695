"""Waits for a state of the server or of Docker that no event announces to a benchmark."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SECONDS = 30
EVERY_SECONDS = 0.02


def until(
    look: Callable[[], T],
    holds: Callable[[T], object],
    *,
    within_seconds: float = SECONDS,
    every_seconds: float = EVERY_SECONDS,
) -> T:
    """Return what `look` finds as soon as `holds` is true of it. Raises TimeoutError."""
    deadline = time.monotonic() + within_seconds
    while not holds(found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {found!r} after {within_seconds} s")
        time.sleep(every_seconds)
    return found
