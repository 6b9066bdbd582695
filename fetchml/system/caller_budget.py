"""A limit on what callers hold at the same time, by caller and in all."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fetchml.errors import RequestError


class CallerBudget:
    """Counts what callers hold of one resource. Callers that hold nothing take no memory."""

    def __init__(
        self,
        by_caller: int,
        in_all: int | None = None,
        *,
        caller_error: Callable[[], RequestError],
        total_error: Callable[[], RequestError] | None = None,
    ) -> None:
        """`in_all`: the limit of all callers together; `None` if there is none. The errors are
        raised at the caller's limit, and at the limit of all."""
        self._by_caller = by_caller
        self._in_all = in_all
        self._caller_error = caller_error
        self._total_error = total_error
        self._held = Counter[str]()
        self.total = 0
        """Amount that all callers hold."""
        self.refused = 0
        """Number of refusals."""

    def take(self, caller: str, size: int) -> None:
        """Reserve an amount. Raises one of the two errors."""
        in_use = self._held.get(caller, 0)
        if in_use + size > self._by_caller:
            self.refused += 1
            raise self._caller_error()
        if self._in_all is not None and self.total + size > self._in_all:
            self.refused += 1
            error = self._total_error or self._caller_error
            raise error()
        self._held[caller] = in_use + size
        self.total += size

    def give_back(self, caller: str, size: int) -> None:
        """Release a reserved amount."""
        self.total -= size
        self._held[caller] -= size
        if not self._held[caller]:
            del self._held[caller]

    @contextmanager
    def hold(self, caller: str, size: int = 1) -> Iterator[None]:
        """Reserve an amount while inside. Raises as `take` does."""
        self.take(caller, size)
        try:
            yield
        finally:
            self.give_back(caller, size)
