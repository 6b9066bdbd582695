"""When a failed call is tried again, and when it is not."""

import random
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

from fetchml.client.errors import CallError, NotFound, RateLimited, Unavailable, call_error
from fetchml.client.rpcs import Rpc

SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5
ACCEPTED = "x-trace-id"
"""In the initial metadata of a stream that the server has accepted, ahead of its first message. An
older server does not send it: there a stream has worked once a message came."""


class Options(NamedTuple):
    """How a client calls."""

    deadline: float = 30
    """Seconds until a call, with all its tries, must have been answered."""
    patience: float = 300
    """Seconds that a stream, once cut, is tried to be resumed. Each cut has so many."""
    retries: bool = True
    """Whether calls are tried again. Streams are resumed in any case."""
    on_cut: Callable[[CallError], None] | None = None
    """Called before each further try with what went wrong."""

    def changed(
        self,
        deadline: float | None,
        patience: float | None,
        retries: bool | None,
        on_cut: Callable[[CallError], None] | None,
    ) -> Self:
        """What is None stays."""
        given: dict[str, Any] = {
            "deadline": deadline,
            "patience": patience,
            "retries": retries,
            "on_cut": on_cut,
        }
        return self._replace(**{name: value for name, value in given.items() if value is not None})


def is_accepted(initial_metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    return any(name == ACCEPTED for name, _ in initial_metadata)


class Patience:
    """Waits ever longer, but not beyond a limit, which begins now or with the first cut."""

    def __init__(self, seconds: float, *, begun: bool = False) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds if begun else None
        self._pause = SHORTEST_PAUSE_SECONDS

    def worked(self) -> None:
        """A stream was accepted, or brought something: the next failure is another cut."""
        self._ends = None
        self._pause = SHORTEST_PAUSE_SECONDS

    def rest(self) -> float:
        """Seconds that are left, at least 0."""
        return self._seconds if self._ends is None else max(0, self._ends - time.monotonic())

    def pause(self, failed: CallError, *, repeatable: bool = True) -> float:
        """Seconds to wait before the next try. Raises the error when there is no use in one.

        `repeatable`: doing it twice does no harm. What is not is tried again only when the server
        has surely done nothing.
        """
        again = (RateLimited, Unavailable) if repeatable else (RateLimited,)
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds
        # A crowd that was cut off together must not come back together.
        pause = max(self._pause * random.uniform(0.5, 1), failed.retry_after or 0)  # noqa: S311
        if not isinstance(failed, again) or pause >= self.rest():
            raise failed
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause


class Tries:
    """The tries of one call."""

    def __init__(
        self, rpc: Rpc[object], options: Options, server: str, deadline: float | None
    ) -> None:
        """`deadline`: seconds for all tries. None: as long as it goes on."""
        self._rpc = rpc
        self._options = options
        self._server = server
        self._has_deadline = deadline is not None
        self._patience = (
            Patience(options.patience) if deadline is None else Patience(deadline, begun=True)
        )
        self._again = False

    def timeout(self) -> float | None:
        """Seconds for the next try."""
        return self._patience.rest() if self._has_deadline else None

    def pause(self, error: object) -> float | None:
        """Seconds to wait after a grpc.RpcError. None: it is done all the same. Raises CallError.

        Who deletes again, since no answer came, may find that it is gone already.
        """
        failed = call_error(error, self._server)
        if self._again and self._rpc.deletes and isinstance(failed, NotFound):
            return None
        if not self._options.retries:
            raise failed
        pause = self._patience.pause(failed, repeatable=self._rpc.repeatable)
        self._again = True
        if self._options.on_cut is not None:
            self._options.on_cut(failed)
        return pause
