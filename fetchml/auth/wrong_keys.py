"""The limit on requests with a wrong key or none, by address."""

from collections.abc import Callable

from fetchml.auth.limits import RateLimiter
from fetchml.config.proxies import caller_of
from fetchml.errors import RateLimited

WRONG_KEYS_PER_SECOND = 5
WRONG_KEYS_BURST = 50


class WrongKeys:
    """Counts wrong keys by address (IPv6 by /64). A valid key is never limited by them: behind a
    proxy all clients share one address, and none of them may lock the others out."""

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
