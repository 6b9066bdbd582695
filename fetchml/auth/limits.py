"""Limits on callers: request rates, bytes that the server holds for them, streams, connections."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from enum import StrEnum
from functools import partial

import msgspec

from fetchml.config.proxies import caller_of
from fetchml.errors import (
    Overloaded,
    RateLimited,
    RequestError,
    TooManyBytes,
    TooManyConnections,
    TooManyStreams,
)
from fetchml.system.caller_budget import CallerBudget

_ROUNDING = 1e-9
"""A caller that waits as long as `retry_after` returned has a token, however times round."""


class RateState(msgspec.Struct, frozen=True, gc=False):
    """The rest of a caller's limit: the values of the RateLimit-* headers."""

    limit: int
    remaining: int
    reset_seconds: int
    """Seconds until the bucket is full again."""


class RateLimiter:
    """Admits each caller `burst` times at once, and `per_second` times in the long run.

    `now` is in seconds of a monotonic clock. Memory is bounded: beyond `max_callers` the least
    recent ones are forgotten, and start with a full bucket.
    """

    def __init__(self, per_second: float, burst: int, max_callers: int = 10_000) -> None:
        self._per_second = per_second
        self.burst = burst
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Caller → (tokens, time at which the bucket had them)."""

    def take(self, caller: str, now: float) -> RateState | None:
        """Take one of the caller's tokens; `None` if there is none."""
        buckets, burst, per_second = self._buckets, self.burst, self._per_second
        tokens, at = buckets.get(caller, (burst, now))
        tokens += (now - at) * per_second
        if tokens > burst:
            tokens = burst
        elif tokens < 1 - _ROUNDING:
            return None
        left = tokens - 1 if tokens > 1 else 0.0
        buckets[caller] = (left, now)
        buckets.move_to_end(caller)
        if len(buckets) > self._max_callers:
            buckets.popitem(last=False)
        return RateState(burst, int(left), math.ceil((burst - left) / per_second))

    def retry_after(self, caller: str, now: float) -> int:
        """Return the whole seconds, at least 1, until the caller has a token."""
        tokens, at = self._buckets.get(caller, (self.burst, now))
        tokens += (now - at) * self._per_second
        return max(1, math.ceil((1 - tokens) / self._per_second))


WRONG_KEYS_PER_SECOND = 5
WRONG_KEYS_BURST = 50


class WrongKeys:
    """Counts wrong keys by address (IPv6 by /64). They never limit a valid key: behind a proxy,
    all clients share one address, and none may lock out the others."""

    def __init__(self, clock: Callable[[], float], *, enabled: bool) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._limiter = RateLimiter(WRONG_KEYS_PER_SECOND, WRONG_KEYS_BURST) if enabled else None

    def count(self, address: str) -> None:
        """Count one. Raises RateLimited beyond the limit of the address."""
        if self._limiter is not None:
            now, caller = self._clock(), caller_of(address)
            if self._limiter.take(caller, now) is None:
                raise RateLimited(self._limiter.retry_after(caller, now))


def byte_budget(what: str, *, by_caller: int, in_all: int) -> CallerBudget:
    """Limit the bytes that the server holds for one purpose. `what`: the plural noun in errors."""
    return CallerBudget(
        by_caller,
        in_all,
        caller_error=partial(TooManyBytes, what, by_caller),
        total_error=partial(Overloaded, f"Server limit of bytes of {what} reached"),
    )


def stream_limit(per_caller: int, in_all: int | None = None) -> CallerBudget:
    """Limit open streams. `in_all`: of all callers together, which have no key then."""
    return CallerBudget(
        per_caller,
        in_all,
        caller_error=partial(TooManyStreams, per_caller),
        total_error=partial(Overloaded, "Server limit of streams without a key reached"),
    )


SHARE_OF_ONE = 1 / 4
"""The share of all connections that one address may hold, so that it cannot lock others out."""
SHARE_OF_MANY = 3 / 4
"""The share of an address that many clients use, such as a proxy's."""


class CloseReason(StrEnum):
    """The reason why the server rejected or ended a connection."""

    TOO_MANY = "too_many"
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    NOT_READ = "not_read"


def share_of_address(most: int, *, shared: bool) -> int:
    """Return how many of `most` connections one address may hold. `shared`: whether many clients
    may use the address."""
    return max(1, int(most * (SHARE_OF_MANY if shared else SHARE_OF_ONE)))


class ConnectionLimits:
    """Counts open connections by address. An address without one takes no memory."""

    def __init__(self, most: int, is_shared: Callable[[str], bool]) -> None:
        """`is_shared`: whether many clients may use an address."""
        self._most = most
        self._is_shared = is_shared
        self._open = Counter[str]()
        self._count = 0
        self.ended = Counter[CloseReason]()
        """Number of connections that the server rejected or ended, by reason."""

    def __len__(self) -> int:
        return self._count

    def open(self, peer: str) -> str:
        """Count a new connection; returns the argument for `close`.

        Raises TooManyConnections, Overloaded.
        """
        caller = caller_of(peer)
        most = share_of_address(self._most, shared=self._is_shared(peer))
        if self._open[caller] >= most:
            raise self._refused(CloseReason.TOO_MANY_OF_ADDRESS, TooManyConnections(most))
        if self._count >= self._most:
            raise self._refused(
                CloseReason.TOO_MANY, Overloaded("Server limit of connections reached")
            )
        self._open[caller] += 1
        self._count += 1
        return caller

    def close(self, caller: str) -> None:
        """Count a connection as closed. `caller`: what `open` returned."""
        self._count -= 1
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def _refused(self, why: CloseReason, error: RequestError) -> RequestError:
        self.ended[why] += 1
        return error
