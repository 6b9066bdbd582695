"""The GPUs of the host from the scheduler's view."""

from enum import StrEnum

from fetchml.core.model import Value


class ObstacleKind(StrEnum):
    """Reasons why no task may be started on a GPU."""

    LOST = "lost"
    """It is gone until it is seen again: what runs on it has lost it."""
    SICK = "sick"
    """It must be reset or examined before it can be used."""
    BUSY = "busy"
    """A process that belongs to no task, or memory that no visible process holds, is on it."""
    UNKNOWN = "unknown"
    """The driver returns nothing about it at the moment."""
    DRAINED = "drained"
    """An admin, or the server for a sick GPU, took it out of use."""


class Obstacle(Value, frozen=True):
    """One reason why no task may be started on a GPU. Its text is for users who wait."""

    kind: ObstacleKind
    detail: str
    """The cause ("python3 (pid 4711, 2.1 GiB)"); of a drained GPU, who drained it."""

    def __str__(self) -> str:
        if self.kind is ObstacleKind.DRAINED:
            return f"drained by {self.detail}"
        return f"{self.kind}: {self.detail}"


class Gpu(Value, frozen=True):
    """A whole GPU, or a MIG device: the unit that is allocated to tasks."""

    uuid: str
    name: str = ""
    memory_mb: int = 0
    place: int = 0
    """Position on the bus: neighbours have neighbouring numbers."""
    parent: str | None = None
    """UUID of the GPU that a MIG device is a part of; `None` for a whole GPU."""
    blocked: Obstacle | None = None
    """`None` if tasks may be started on it, as far as the driver reports."""

    @property
    def lost(self) -> bool:
        return self.blocked is not None and self.blocked.kind is ObstacleKind.LOST


PLAIN = "slot-"


def plain_slots(count: int) -> tuple[Gpu, ...]:
    """GPUs of a host without an inventory: they are counted, and no device is passed to tasks."""
    return tuple(Gpu(f"{PLAIN}{number}", place=number) for number in range(count))


def is_plain(uuid: str) -> bool:
    return uuid.startswith(PLAIN)
