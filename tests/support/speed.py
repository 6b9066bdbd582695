"""How fast this machine is, for tests of how long a piece of work may take."""

import time

_STEPS = 100_000
_SECONDS = 0.004
"""What `_STEPS` take where the limits of the tests come from."""


def slowness() -> float:
    """Return how many times longer this thread takes for a piece of work now; at least 1.

    A slow processor, and one that others use too, takes longer also in time of the thread.
    """
    best = min(_work() for _ in range(3))
    return max(1.0, best / _SECONDS)


def _work() -> float:
    began = time.thread_time()
    found: dict[int, int] = {}
    total = 0
    for step in range(_STEPS):
        found[step & 1023] = total
        total += step
    return time.thread_time() - began
