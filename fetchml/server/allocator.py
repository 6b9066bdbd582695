"""The settings of the C library's allocator in the server."""

import ctypes
from contextlib import suppress

_ARENA_MAX = -8
"""M_ARENA_MAX of `malloc.h`."""


def use_one_arena() -> None:
    """Let all threads allocate from one arena. Call it before the second thread starts.

    gRPC's threads free each other's memory. With an arena for each thread, such memory could not be
    used again, and clients that send and disconnect would make the server grow (decision 97).
    """
    with suppress(AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
