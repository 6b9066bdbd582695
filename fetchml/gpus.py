"""The box's GPUs: what is known of them, who has them, and the owner's word about them.

It brings what the inventory sees to the core, and looks at a GPU that was given back. Errors that
a GPU has told of are gone with the server, and with the driver: one that is sick is taken out of
use for good, until the owner says that it is well.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from fetchml.audit import Audit
from fetchml.core.events import Event
from fetchml.core.gpu import Gpu
from fetchml.core.gpu_health import GpuReading
from fetchml.core.model import Principal, Task
from fetchml.core.state import State
from fetchml.ports import GpuInventory, Store

log = logging.getLogger(__name__)


class GpuCondition(StrEnum):
    """The first that is true of it."""

    LOST = "lost"
    SICK = "sick"
    DRAINED = "drained"
    HELD = "held"
    """Tasks have it; with sharing there may be room for more."""
    BUSY = "busy"
    """Somebody else uses it, or what a task left there is not gone."""
    SETTLING = "settling"
    """A task has just left it: it is looked at."""
    UNKNOWN = "unknown"
    """The driver does not tell of it now."""
    FREE = "free"


class GpuStatus(msgspec.Struct, frozen=True):
    """One GPU, or MIG device, or plain slot."""

    number: int
    """Its place in the list, from 0."""
    gpu: Gpu
    condition: GpuCondition
    reason: str | None = None
    """Why nothing is started on it, in words; None: it can be given, or tasks have it."""
    held_by: tuple[str, ...] = ()
    """Task ids: those that the caller may see."""
    drained_by: str | None = None
    """Whoever took it out of use, also while it is lost, sick or held."""
    reading: GpuReading | None = None
    """None: a plain slot, which nobody looks at."""


class GpuReport(msgspec.Struct, frozen=True):
    gpus: tuple[GpuStatus, ...]
    """In the order of the bus."""
    driver: str | None = None
    """The driver's version; None: it can't be asked, or the slots are plain."""
    problem: str | None = None
    """Why it can't be asked, for people."""
    notes: tuple[str, ...] = ()


class Gpus:
    """Verbs raise `errors.RequestError` for what a client must be told."""

    def __init__(
        self, store: Store, audit: Audit, inventory: GpuInventory | None, *, private: bool
    ) -> None:
        """`inventory` None: only plain slots. The store may be opened later."""
        self._store = store
        self._audit = audit
        self._inventory = inventory
        self._private = private

    def list(self, who: Principal) -> GpuReport:
        """All GPUs as they are now. On a private server nothing of others' tasks is told."""
        raise NotImplementedError

    async def drain(self, who: Principal, uuid: str) -> GpuStatus:
        """Nothing more is started on it, what runs goes on; durable on return. Again is fine.

        Raises Forbidden for who is no admin, NotFound.
        """
        raise NotImplementedError

    async def undrain(self, who: Principal, uuid: str) -> GpuStatus:
        """It is well, and in use again; durable on return. Fine also when it was not drained.

        Raises Forbidden for who is no admin, NotFound.
        """
        raise NotImplementedError
