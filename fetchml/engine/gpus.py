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
from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.events import CheckGpus, Event, GpuChecked, GpuDrained, GpuFailed, GpusSeen
from fetchml.core.gpus.health import GpuReading, XidClass, worst_xid, xid_class, xid_words
from fetchml.core.gpus.model import Gpu, Obstacle, ObstacleKind
from fetchml.core.model import AttemptEnd, Principal, Role, Status, Task
from fetchml.core.state import State
from fetchml.core.verdict import is_failure
from fetchml.errors import Forbidden, NotFound
from fetchml.ports.gpu import GpuInventory, GpuState, OwnerOf
from fetchml.ports.store import Store
from fetchml.records import RecordSet
from fetchml.system.background import BackgroundWork

DOCUMENTS = "gpu"
THE_SERVER = "the server"
CLOSE_SECONDS = 2
"""What is being written down, and looks that are under way, get that long."""

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


class Drained(msgspec.Struct, frozen=True):
    """The record of a GPU that is out of use."""

    uuid: str
    by: str
    at: int
    """Milliseconds since the epoch (UTC)."""


Report = Callable[[Event], asyncio.Future[None]]


class Gpus:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        state: State,
        audit: Audit,
        inventory: GpuInventory | None,
        *,
        report: Report,
        owner_of: OwnerOf,
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        """`inventory` None: only plain slots. `report`: takes events to the core. `owner_of`: the
        launcher's."""
        self._drained = RecordSet(store, DOCUMENTS, Drained, lambda each: each.uuid)
        self._state = state
        self._audit = audit
        self._inventory = inventory
        self._report = report
        self._owner_of = owner_of
        self._clock = clock
        self._private = private
        self._sick: set[str] = set()
        """Told sick by the newest look."""
        self._owners_known = False
        self._started = False
        self._background = BackgroundWork()

    async def start(self) -> None:
        """Report all GPUs to the core, now and whenever they change. After `Recovered`."""
        await self._drained.load()
        for record in self._drained:
            await self._report(GpuDrained(self._clock(), record.uuid, record.by))
        self._started = True
        if self._inventory is not None:
            await self._inventory.open(self._changed, self._live_owner_of)
        else:
            await self._report(GpusSeen(self._clock(), []))

    async def close(self) -> None:
        await self._background.wait(CLOSE_SECONDS)
        if self._inventory is not None:
            await self._inventory.close()

    def owners_known(self) -> None:
        """From now on the launcher knows the processes of all tasks that an earlier server began:
        a process that is nobody's is a stranger, also on a GPU that a task has."""
        if not self._owners_known:
            self._owners_known = True
            if self._started:
                self._look_again()

    def check(self, effect: CheckGpus) -> None:
        """Carry out the effect."""
        self._background.start(self._check(effect.uuids))

    async def failure(self, task: Task, end: AttemptEnd) -> GpuFailed | None:
        """Whether a bad end of the task's attempt was its GPUs' doing."""
        if self._inventory is None or not task.gpu_uuids or not is_failure(end):
            return None
        state = await self._inventory.refresh()
        since = end.started_at or task.started_at or task.allocated_at or end.at
        told = {}
        for reading in state.readings:
            worst = worst_xid(reading.xids, since)
            if reading.uuid not in task.gpu_uuids or worst is None:
                continue
            if xid_class(worst.code) > XidClass.APPLICATION:
                told[reading.uuid] = xid_words(worst.code)
        if not told:
            return None
        words = ", ".join(dict.fromkeys(told.values()))
        why = f"its GPU had an error: {words}"
        return GpuFailed(self._clock(), task.id, task.attempt, tuple(told), why)

    def list(self, who: Principal) -> GpuReport:
        """All GPUs as they are now. On a private server nothing of others' tasks is told."""
        seen = self._inventory.state if self._inventory is not None else GpuState()
        readings = {reading.uuid: reading for reading in seen.readings}
        gpus = sorted(self._state.gpus.known.values(), key=lambda gpu: (gpu.place, gpu.uuid))
        told = [
            self._status(who, number, gpu, readings.get(gpu.uuid))
            for number, gpu in enumerate(gpus)
        ]
        return GpuReport(tuple(told), seen.driver, seen.problem, seen.notes)

    async def drain(self, who: Principal, uuid: str) -> GpuStatus:
        """Nothing more is started on it, what runs goes on; durable on return. Again is fine.

        Raises Forbidden for who is no admin, NotFound.
        """
        self._require(who, uuid)
        # To the end, even when the caller leaves in between.
        await self._background.run_to_completion(self._drain_asked(who, uuid))
        return self._one(who, uuid)

    async def undrain(self, who: Principal, uuid: str) -> GpuStatus:
        """It is well, and in use again; durable on return. Fine also when it was not drained.

        Raises Forbidden for who is no admin, NotFound.
        """
        self._require(who, uuid)
        await self._background.run_to_completion(self._undrain_asked(who, uuid))
        return self._one(who, uuid)

    def _require(self, who: Principal, uuid: str) -> None:
        if who.role is not Role.ADMIN:
            raise Forbidden("Only admins take GPUs out of use, and give them back")
        if uuid not in self._state.gpus.known:
            raise NotFound(f"There is no GPU {uuid[:96]!r}")

    def _one(self, who: Principal, uuid: str) -> GpuStatus:
        for status in self.list(who).gpus:
            if status.gpu.uuid == uuid:
                return status
        raise NotFound(f"There is no GPU {uuid[:96]!r}")

    async def _drain_asked(self, who: Principal, uuid: str) -> None:
        self._report(GpuDrained(self._clock(), uuid, who.user))
        await self._keep(uuid, who.user)
        await self._audit.done(who, Action.GPU_DRAIN, uuid)

    async def _undrain_asked(self, who: Principal, uuid: str) -> None:
        await self._drained.remove(uuid)
        if self._inventory is not None:
            self._inventory.forgive(uuid)
            self._changed(await self._inventory.refresh())
        self._report(GpuDrained(self._clock(), uuid, None))
        await self._audit.done(who, Action.GPU_UNDRAIN, uuid)

    async def _keep(self, uuid: str, by: str) -> None:
        await self._drained.put(Drained(uuid, by, self._clock()))

    def _changed(self, state: GpuState) -> None:
        if state.problem is not None and not state.gpus:
            # Nobody knows: what waits for a GPU may have one when the driver is there.
            return
        sick = {
            gpu.uuid: gpu.blocked
            for gpu in state.gpus
            if gpu.blocked is not None and gpu.blocked.kind is ObstacleKind.SICK
        }
        self._report(GpusSeen(self._clock(), [self._trusted(gpu) for gpu in state.gpus]))
        for uuid in sick.keys() - self._sick:
            self._drain_sick(uuid, str(sick[uuid]))
        self._sick = set(sick)

    def _trusted(self, gpu: Gpu) -> Gpu:
        """As long as the launcher does not know whose the processes are that an earlier server
        began, those on a GPU that a task has are taken for that task's."""
        if (
            self._owners_known
            or gpu.uuid not in self._state.gpus.holders
            or gpu.blocked is None
            or gpu.blocked.kind is not ObstacleKind.BUSY
        ):
            return gpu
        return replace(gpu, blocked=None)

    def _drain_sick(self, uuid: str, told: str) -> None:
        if uuid in self._state.gpus.drained:
            return
        by = f"{THE_SERVER} ({told})"
        log.error("a GPU is taken out of use", extra={"gpu": uuid, "because": told})
        self._report(GpuDrained(self._clock(), uuid, by))
        self._background.start(self._keep(uuid, by))

    def _live_owner_of(self, pid: int) -> str | None:
        """The task that a process belongs to, while its processes may live: what an ended task has
        left belongs to none. Called in the inventory's threads."""
        task_id = self._owner_of(pid)
        task = None if task_id is None else self._state.tasks.get(task_id)
        has_processes = task is not None and task.status in (Status.PREPARING, Status.RUNNING)
        return task_id if has_processes else None

    async def _check(self, uuids: Sequence[str]) -> None:
        if self._inventory is None:
            found = dict.fromkeys(uuids)
        else:
            holders = {
                task_id for uuid in uuids for task_id in self._state.gpus.holders.get(uuid, ())
            }
            found = dict(await self._inventory.check(uuids, holders))
        for uuid in uuids:
            fault = found.get(uuid)
            if fault is not None:
                log.warning(
                    "a GPU is not given out again", extra={"gpu": uuid, "because": str(fault)}
                )
            self._report(GpuChecked(self._clock(), uuid, fault))
        if any(found.values()):
            self._look_again()

    def _look_again(self) -> None:
        """And tell the core, though nothing may be other than it was when last looked at."""
        if self._inventory is not None:
            self._background.start(self._tell_again(self._inventory))

    async def _tell_again(self, inventory: GpuInventory) -> None:
        self._changed(await inventory.refresh())

    def _status(
        self, who: Principal, number: int, gpu: Gpu, reading: GpuReading | None
    ) -> GpuStatus:
        pool = self._state.gpus
        holders = tuple(pool.holders.get(gpu.uuid, ()))
        obstacle = pool.obstacle(gpu.uuid)
        visible = tuple(task_id for task_id in holders if self._may_see(who, task_id))
        if reading is not None:
            shown = [p for p in reading.processes if p.task_id is None or p.task_id in visible]
            reading = replace(reading, processes=tuple(shown))
        return GpuStatus(
            number,
            gpu,
            _condition(
                obstacle,
                is_drained=gpu.uuid in pool.drained,
                is_held=bool(holders),
                settles=gpu.uuid in pool.settling,
            ),
            None if obstacle is None else str(obstacle),
            visible,
            pool.drained.get(gpu.uuid),
            reading,
        )

    def _may_see(self, who: Principal, task_id: str) -> bool:
        task = self._state.tasks.get(task_id)
        return task is not None and permissions.may_see(who, task, private=self._private)


def _condition(
    obstacle: Obstacle | None, *, is_drained: bool, is_held: bool, settles: bool
) -> GpuCondition:
    kind = None if obstacle is None else obstacle.kind
    if kind is ObstacleKind.LOST:
        return GpuCondition.LOST
    if kind is ObstacleKind.SICK:
        return GpuCondition.SICK
    if is_drained:
        return GpuCondition.DRAINED
    if is_held:
        return GpuCondition.HELD
    if kind is ObstacleKind.UNKNOWN:
        return GpuCondition.UNKNOWN
    if kind is not None:
        return GpuCondition.BUSY
    return GpuCondition.SETTLING if settles else GpuCondition.FREE
