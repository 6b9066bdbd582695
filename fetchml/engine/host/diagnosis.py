"""The findings of `fetchml doctor` that a running server can check, for admins."""

import asyncio
import time
from collections.abc import Callable, Sequence

from fetchml.core.model import Principal
from fetchml.core.permissions import AdminOnly, refusal
from fetchml.errors import forbid
from fetchml.ports.gpu import GpuInventory, GpuState
from fetchml.views import Finding

FRESH_SECONDS = 5
"""Age up to which findings are returned again: the checks ask Docker and read the disk."""

Examine = Callable[[GpuState | None], Sequence[Finding]]
"""Runs all checks; blocks for seconds. The argument is `None` on a server with plain slots."""


def examine_nothing(_: GpuState | None) -> Sequence[Finding]:
    return ()


class Diagnosis:
    """Used from one event loop."""

    def __init__(
        self,
        examine: Examine,
        inventory: GpuInventory | None,
        own: Callable[[], Sequence[Finding]] = tuple,
    ) -> None:
        """`own`: findings that need no look at the host."""
        self._examine = examine
        self._own = own
        self._inventory = inventory
        self._one = asyncio.Lock()
        self._found: tuple[float, Sequence[Finding]] | None = None
        """When the last examination ended, by the monotonic clock, and its findings."""

    async def run(self, who: Principal) -> Sequence[Finding]:
        """Examine the host; callers at the same time share one examination. Raises Forbidden."""
        forbid(refusal(who, AdminOnly.FINDINGS))
        async with self._one:
            if self._found is None or time.monotonic() - self._found[0] > FRESH_SECONDS:
                gpus = None if self._inventory is None else self._inventory.state
                found = await asyncio.to_thread(self._examine, gpus)
                self._found = time.monotonic(), found
            return [*self._found[1], *self._own()]
