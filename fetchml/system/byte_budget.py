"""A limit on the bytes that the server holds for one purpose, by caller and in total."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.errors import Overloaded, TooManyBytes


class ByteBudget:
    """Callers that hold nothing take no memory."""

    def __init__(self, what: str, *, by_caller: int, in_all: int) -> None:
        """`what` is the plural noun in errors. The limits are bytes."""
        self._what = what
        self._by_caller = by_caller
        self._in_all = in_all
        self._held = Counter[str]()
        self.total = 0
        """Bytes held by all callers."""
        self.refused = 0
        """Number of refusals."""

    def take(self, caller: str, size: int) -> None:
        """Reserve bytes. Raises TooManyBytes at the caller's limit, Overloaded at the total
        limit."""
        if self._held[caller] + size > self._by_caller:
            self._forget(caller)
            self.refused += 1
            raise TooManyBytes(self._what, self._by_caller)
        if self.total + size > self._in_all:
            self._forget(caller)
            self.refused += 1
            raise Overloaded(f"The server holds too many bytes of {self._what}")
        self._held[caller] += size
        self.total += size

    def give_back(self, caller: str, size: int) -> None:
        """Release reserved bytes."""
        self._held[caller] -= size
        self.total -= size
        self._forget(caller)

    @contextmanager
    def hold(self, caller: str, size: int) -> Iterator[None]:
        """Reserve bytes while inside. Raises as `take` does."""
        self.take(caller, size)
        try:
            yield
        finally:
            self.give_back(caller, size)

    def _forget(self, caller: str) -> None:
        if not self._held[caller]:
            del self._held[caller]
