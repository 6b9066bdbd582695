"""Watches of a report about the server's state, such as that of its GPUs.

A report is made at most once a second for all its watchers that see the same, and each of them gets
it only if it differs from the last one that it got.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from fetchml.core import permissions
from fetchml.core.model import Principal

INTERVAL_SECONDS = 1
"""The longest delay of a change, and the shortest time between two reports of a watch."""

Report = TypeVar("Report")


class Reports(Generic[Report]):
    """Used from one event loop."""

    def __init__(
        self,
        read: Callable[[Principal], Awaitable[Report]],
        *,
        private: bool,
    ) -> None:
        """`private`: `read` returns something else for each user, but the same for all admins."""
        self._read = read
        self._private = private
        self._made: dict[str | None, tuple[float, Report]] = {}
        """User → when its newest report was made, and the report. `None`: of callers that see
        everything. Removed when nobody has asked for a while."""

    async def watch(self, who: Principal) -> AsyncGenerator[Report]:
        """Yield the report as it is now, then whenever it has changed. Never ends by itself."""
        last: Report | None = None
        while True:
            newest = await self._newest(who)
            # Nearly always it is the same object: the report of a cluster has thousands of parts.
            if newest is not last and newest != last:
                yield newest
                last = newest
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _newest(self, who: Principal) -> Report:
        scope = None if permissions.sees_all(who, private=self._private) else who.user
        now = asyncio.get_running_loop().time()
        self._made = {
            each: made for each, made in self._made.items() if now - made[0] < 3 * INTERVAL_SECONDS
        }
        at, last = self._made.get(scope, (None, None))
        if at is None or now - at >= INTERVAL_SECONDS:
            newest = await self._read(who)
            # All watchers compare with the same object then, and only this compares its parts.
            self._made[scope] = now, last if last is not None and last == newest else newest
        return self._made[scope][1]
