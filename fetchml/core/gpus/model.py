"""What can be given to a task that asks for GPUs."""

from fetchml.core.model import Value


class Gpu(Value, frozen=True):
    """One thing that can be given to a task: a whole GPU, or a MIG device."""

    uuid: str
    name: str = ""
    memory_mb: int = 0
    place: int = 0
    """Order on the bus: neighbours have neighbouring numbers."""
    parent: str | None = None
    """Of a MIG device: the UUID of the GPU that it is a part of."""
    blocked: str | None = None
    """Why nothing may be started on it now, in words for a user who waits:
    "busy: python3 (pid 4711, 2.1 GiB)", "lost: it has fallen off the bus", "sick: XID 79"."""
    lost: bool = False
    """Gone: what runs on it has lost it."""


PLAIN = "slot-"


def plain_slots(count: int) -> tuple[Gpu, ...]:
    """GPUs of a box whose GPUs nobody looks at: counted, and no device is passed."""
    return tuple(Gpu(f"{PLAIN}{number}", place=number) for number in range(count))


def is_plain(uuid: str) -> bool:
    return uuid.startswith(PLAIN)
