"""The settings of the C library's allocator in the server."""

import ctypes
from contextlib import suppress

_ARENA_MAX = -8
"""M_ARENA_MAX of `malloc.h`."""


def use_one_arena() -> None:
    """Let all threads allocate from one arena. Call it before the second thread starts.

    gRPC's threads free each other's memory. In arenas of their own they can't use it again, and the
    memory grows by what clients send and take back (decision 97).
    """
    with suppress(AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
