"""The time for which an attempt on a silent node has not renewed its lease."""

import time
from collections.abc import Callable

from fetchml.core.scheduling.lost_attempts import lease_is_over


class LeaseWatch:
    """Of one attempt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._renewal: int | None = None
        self._seen_at = 0.0
        self._began = 0.0

    def begin(self) -> None:
        """A reading of the attempt's folder begins."""
        self._began = self._clock()

    def is_over(self, renewal: int | None, lease_seconds: int) -> bool:
        """Whether the attempt has no process left. `renewal`: what the reading has found; `None` if
        the attempt has no lease.

        A renewal counts from the moment at which it was seen, which is after it was made. It was
        the last one if a later reading, which began after that time, found no other.
        """
        if renewal is None:
            return False
        if renewal != self._renewal:
            self._renewal, self._seen_at = renewal, self._clock()
            return False
        return lease_is_over(self._began - self._seen_at, lease_seconds)
