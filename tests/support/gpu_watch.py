"""An inventory over the stand-in library, and the states that it reports."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fetchml.adapters.nvml.inventory import NvmlInventory
from fetchml.core.gpus.allocator import Gpu, Obstacle, ObstacleKind
from fetchml.ports.gpu import GpuState
from tests.support.waiting import soon, until_true

SELDOM = 3600.0
"""Between two readings, so that a test sees only those that it causes."""
UNSEEN = Obstacle(ObstacleKind.UNKNOWN, "the driver does not report it now")


class Watched:
    """An inventory, and the states that it reported."""

    def __init__(self, inventory: NvmlInventory) -> None:
        self.inventory = inventory
        self.told: list[GpuState] = []
        self._news = asyncio.Event()

    def hear(self, state: GpuState) -> None:
        self.told.append(state)
        self._news.set()

    async def until(self, condition: Callable[[GpuState], bool]) -> GpuState:
        """Wait for a reported state for which the condition holds."""
        while not condition(self.told[-1]):
            self._news.clear()
            await soon(self._news.wait())
        return self.told[-1]

    async def gpus(self) -> tuple[Gpu, ...]:
        """Take a reading."""
        return (await soon(self.inventory.refresh())).gpus

    async def blocked(self) -> str | None:
        """Take a reading, and return why the only GPU is blocked."""
        (only,) = await self.gpus()
        return text(only)


@asynccontextmanager
async def watched(
    owners: dict[int, str] | None = None, *, every: float = SELDOM, silent: float = 30.0
) -> AsyncIterator[Watched]:
    inventory = NvmlInventory(every_seconds=every, silent_seconds=silent)
    watching = Watched(inventory)
    await soon(inventory.open(watching.hear, (owners or {}).get))
    try:
        yield watching
    finally:
        await soon(inventory.close())
        # A silent driver's session may end later: in the next test it would end that one's.
        await until_true(lambda: not _threads())


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("nvml-")]


def text(gpu: Gpu) -> str | None:
    """Return why it is blocked."""
    return None if gpu.blocked is None else str(gpu.blocked)
