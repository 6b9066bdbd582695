"""Limits on the streams that are open at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.errors import Overloaded, TooManyStreams


class StreamLimit:
    """Counts open streams by caller. A caller without one takes no memory."""

    def __init__(self, per_caller: int, in_all: int | None = None) -> None:
        """`in_all`: the limit of all callers together; `None` if there is none."""
        self._per_caller = per_caller
        self._in_all = in_all
        self._count = 0
        self._open = Counter[str]()

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Count a stream of this caller while inside. Raises TooManyStreams, Overloaded."""
        if self._open[caller] >= self._per_caller:
            self._forget(caller)
            raise TooManyStreams(self._per_caller)
        if self._in_all is not None and self._count >= self._in_all:
            self._forget(caller)
            raise Overloaded("The server has too many streams without a key")
        self._open[caller] += 1
        self._count += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            self._count -= 1
            self._forget(caller)

    def _forget(self, caller: str) -> None:
        if not self._open[caller]:
            del self._open[caller]
