"""The GPU inventory: the GPUs of this machine, their condition, and the processes on them.

1. `open` takes the first reading. From then on the inventory reads every few seconds, immediately
   after an error that the driver reports, and on request.
2. `state`, `refresh`, `check` and `forgive`, in any order.
3. `close` ends the readings.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from fetchml.core.gpus.allocator import Gpu, Obstacle
from fetchml.core.gpus.health import GpuReading

OwnerOf = Callable[[int], str | None]
"""Maps a process id to the id of the live task to which it belongs; `None` if to none."""


class GpuState(msgspec.Struct, frozen=True):
    """The machine's GPUs at one moment."""

    readings: tuple[GpuReading, ...] = ()
    """In the order of their indexes. A GPU that disappeared stays, as lost."""
    gpus: tuple[Gpu, ...] = ()
    """The health that follows from the readings, in the same order."""
    driver: str | None = None
    """The driver's version; `None` if the driver does not answer."""
    cuda: str | None = None
    """Version of CUDA that the driver supports."""
    problem: str | None = None
    """The reason why the driver does not answer, for people."""
    notes: tuple[str, ...] = ()
    """Further remarks for the host's owner."""


class GpuInventory(Protocol):
    """The GPUs of this machine. No method fails or blocks the event loop: the values report what
    can't be determined."""

    @property
    def state(self) -> GpuState:
        """The newest reading."""

    async def open(self, on_change: Callable[[GpuState], None], owner_of: OwnerOf) -> None:
        """Take the first reading, and keep reading.

        `on_change` is called in the event loop, during this call and whenever `gpus`, `driver`,
        `problem` or `notes` change. Measurements such as utilization change without a call.
        `owner_of` is called in threads.
        """

    async def refresh(self) -> GpuState:
        """Return a reading that began after this call."""

    async def check(
        self, uuids: Sequence[str], holders: Collection[str] = ()
    ) -> Mapping[str, Obstacle | None]:
        """Check GPUs that a task has left, and on which only the tasks `holders` may go on.

        Returns for each why it can't be allocated again; `None` if its processes are gone and its
        memory is free. Takes milliseconds if all is well, otherwise allows a second for it.
        """

    def forgive(self, uuid: str) -> None:
        """Mark a GPU healthy: errors recorded so far no longer count."""

    async def close(self) -> None: ...
