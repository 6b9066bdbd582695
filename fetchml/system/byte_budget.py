"""How many bytes each caller, and all together, may make the server hold for some purpose."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fetchml.errors import Overloaded, TooManyBytes


class ByteBudget:
    """Memory is bounded by what is held: callers that hold nothing are not kept."""

    def __init__(self, what: str, *, by_caller: int, in_all: int) -> None:
        """`what`: the plural noun in errors. The other two are bytes."""
        self._what = what
        self._by_caller = by_caller
        self._in_all = in_all
        self._held = Counter[str]()
        self.total = 0
        """Bytes that all callers hold now."""
        self.refused = 0
        """How often something did not fit."""

    def take(self, caller: str, size: int) -> None:
        """Raises TooManyBytes if the caller holds too much, Overloaded if all together do."""
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
        """Of what was taken."""
        self._held[caller] -= size
        self.total -= size
        self._forget(caller)

    @contextmanager
    def hold(self, caller: str, size: int) -> Iterator[None]:
        """Around what keeps `size` bytes. Raises as `take` does."""
        self.take(caller, size)
        try:
            yield
        finally:
            self.give_back(caller, size)

    def _forget(self, caller: str) -> None:
        if not self._held[caller]:
            del self._held[caller]
