"""Request rates: a token bucket for each caller."""

import math
from collections import OrderedDict

import msgspec

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
        """Take one of the caller's tokens; `None` if none is left."""
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
