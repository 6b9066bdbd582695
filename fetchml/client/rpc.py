"""One call: what it sends, whether it may be repeated, and when a failed one is retried."""

import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, Self, TypeVar

from google.protobuf.message import Message

from fetchml.client.errors import CallError, NotFound, RateLimited, Unavailable, call_error

SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5
ACCEPTED = "x-trace-id"
"""In the initial metadata of a stream that the server has accepted, before its first message. Older
servers do not send it: there the first message shows that the stream works."""

Reply = TypeVar("Reply", covariant=True)  # noqa: PLC0105  # `Rpc[Reply]` is what is read


class Rpc(NamedTuple, Generic[Reply]):
    """One call."""

    method: str
    """`Service/Method`. A service without a package is one of fetchml.v1."""
    request: Message
    """The request, or the first one of a stream."""
    reply: type[Reply]
    repeatable: bool = True
    """Whether a repeated call has the same effect as one."""
    deletes: bool = False
    """Whether NotFound after a retry is a success."""

    @property
    def wire(self) -> tuple[str, Callable[[Message], bytes], Callable[[bytes], Reply]]:
        """Return the arguments of a gRPC channel: path, request serializer, reply parser."""
        path = f"/{self.method}" if "." in self.method else f"/fetchml.v1.{self.method}"
        parse: Callable[[bytes], Reply] = self.reply.FromString  # type: ignore[attr-defined]
        return path, type(self.request).SerializeToString, parse


class Options(NamedTuple):
    """Deadlines and retries of a client's calls."""

    deadline: float = 30
    """Seconds for a call, including its retries."""
    patience: float = 300
    """Seconds to keep trying to resume a stream. Every lost connection starts this time again."""
    retries: bool = True
    """Whether calls are retried. Streams are resumed in any case."""
    on_cut: Callable[[CallError], None] | None = None
    """Called with the error before each retry."""

    def changed(
        self,
        deadline: float | None,
        patience: float | None,
        retries: bool | None,
        on_cut: Callable[[CallError], None] | None,
    ) -> Self:
        """Return the options with the given changes; `None` keeps an option."""
        changes: dict[str, Any] = {
            "deadline": deadline,
            "patience": patience,
            "retries": retries,
            "on_cut": on_cut,
        }
        return self._replace(
            **{name: value for name, value in changes.items() if value is not None}
        )


def is_accepted(initial_metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether the server accepted the stream."""
    return any(name == ACCEPTED for name, _ in initial_metadata)


class Backoff:
    """Pauses that double, up to a limit of time.

    The limit starts to run now if `begun`, else with the first failure.
    """

    def __init__(self, seconds: float, *, begun: bool = False) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds if begun else None
        self._pause = SHORTEST_PAUSE_SECONDS

    def reset(self) -> None:
        """Start over: a stream was accepted, or a message arrived."""
        self._ends = None
        self._pause = SHORTEST_PAUSE_SECONDS

    def remaining(self) -> float:
        """Seconds until the limit, at least 0."""
        return self._seconds if self._ends is None else max(0, self._ends - time.monotonic())

    def pause(self, failed: CallError, *, repeatable: bool = True) -> float:
        """Return the seconds to wait before the next try. Raises `failed` if none can succeed.

        A call that is not `repeatable` must not happen twice: it is retried only after an error
        which shows that the server did nothing.
        """
        again = (RateLimited, Unavailable) if repeatable else (RateLimited,)
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds
        # Clients that lost their connections together must not all return at the same moment.
        pause = max(self._pause * random.uniform(0.5, 1), failed.retry_after or 0)  # noqa: S311
        if not isinstance(failed, again) or pause >= self.remaining():
            raise failed
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause


class CallRetries:
    """The retries of one call."""

    def __init__(
        self, rpc: Rpc[object], options: Options, server: str, deadline: float | None
    ) -> None:
        """`deadline` is in seconds, for all tries; `None` if the call may take any time."""
        self._rpc = rpc
        self._options = options
        self._server = server
        self._has_deadline = deadline is not None
        self._backoff = (
            Backoff(options.patience) if deadline is None else Backoff(deadline, begun=True)
        )
        self._is_retry = False

    def timeout(self) -> float | None:
        """Seconds for the next try; `None` if it may take any time."""
        return self._backoff.remaining() if self._has_deadline else None

    def pause(self, error: object) -> float | None:
        """Return the seconds to wait after a grpc.RpcError; `None` if the call is done after all.

        A retried delete that finds nothing is done: an earlier try deleted it. Raises CallError.
        """
        failed = call_error(error, self._server)
        if self._is_retry and self._rpc.deletes and isinstance(failed, NotFound):
            return None
        if not self._options.retries:
            raise failed
        pause = self._backoff.pause(failed, repeatable=self._rpc.repeatable)
        self._is_retry = True
        if self._options.on_cut is not None:
            self._options.on_cut(failed)
        return pause
