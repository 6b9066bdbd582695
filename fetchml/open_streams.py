"""How many streams each caller may hold open at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.errors import TooManyStreams


class OpenStreams:
    """Memory is bounded by what is open: callers that hold nothing are not kept."""

    def __init__(self, per_caller: int) -> None:
        self._per_caller = per_caller
        self._open = Counter[str]()

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Around a stream of this caller. Raises TooManyStreams."""
        if self._open[caller] >= self._per_caller:
            raise TooManyStreams(self._per_caller)
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
