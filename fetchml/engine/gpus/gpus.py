"""The host's GPUs: reports the inventory's readings to the core, checks released GPUs, and drains.

The driver and the server forget a GPU's errors when they end. So a sick GPU is drained, durably,
until `undrain` marks it healthy.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import msgspec
from msgspec.structs import replace

from fetchml.attempts.hosts import TaskHost
from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.events import (
    CheckGpus,
    Event,
    GpuChecked,
    GpuDrained,
    GpuFailed,
    GpuMemoryExhausted,
    GpusSeen,
)
from fetchml.core.gpus.allocator import Gpu, ObstacleKind
from fetchml.core.gpus.health import XidClass, describe_xid, worst_xid, xid_class
from fetchml.core.model import AttemptEnd, Principal, Status, Task
from fetchml.core.permissions import AdminOnly
from fetchml.core.state import State
from fetchml.core.verdict import is_failure
from fetchml.engine.gpus.bookings import GpuBookings
from fetchml.engine.gpus.cluster_report import cluster_report, node_readings
from fetchml.engine.gpus.memory import reports_too_little_memory
from fetchml.engine.gpus.peak_store import PeakStore
from fetchml.engine.gpus.report import GpuReport, GpuStatus, gpu_report
from fetchml.engine.watches.reports import Reports
from fetchml.errors import NotFound, forbid
from fetchml.ports.gpu import GpuInventory, GpuState, OwnerOf
from fetchml.ports.store import Store
from fetchml.records import RecordSet
from fetchml.system.background import BackgroundWork

DOCUMENTS = "gpu"
THE_SERVER = "the server"
CLOSE_SECONDS = 2
"""Time for records that are being stored and checks under way."""

log = logging.getLogger(__name__)


class Drained(msgspec.Struct, frozen=True):
    """The record of a drained GPU."""

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
        host: TaskHost,
        inventory: GpuInventory | None,
        *,
        report: Report,
        owner_of: OwnerOf,
        output: Callable[[Task], Awaitable[str | None]],
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        """`inventory` None: only plain slots, or a cluster's GPUs. `report`: takes events to the
        core. `owner_of`: the launcher's. `output`: the last part of a task's log."""
        self._host = host
        self._drained = RecordSet(store, DOCUMENTS, Drained, lambda each: each.uuid)
        self._state = state
        self._audit = audit
        self._inventory = inventory
        self._report = report
        self._owner_of = owner_of
        self._output = output
        self._peaks = PeakStore(store, state, clock)
        self._clock = clock
        self._private = private
        self._sick: set[str] = set()
        """Those that the newest reading shows as sick."""
        self._owners_known = False
        self._started = False
        self._background = BackgroundWork()
        self._reports = Reports[GpuReport](self._listed, private=private)
        self.bookings = GpuBookings(
            store, state, audit, host, report=report, clock=clock, private=private
        )

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
        """Call this once the launcher has found the processes that an earlier server began.

        From then on a process of no task is foreign, also on a GPU that a task holds.
        """
        if not self._owners_known:
            self._owners_known = True
            if self._started:
                self._look_again()

    def check(self, effect: CheckGpus) -> None:
        """Carry out the effect."""
        self._background.start(self._check(effect.uuids))

    async def save_peaks(self) -> None:
        """Store the learned peaks of GPU memory. Durable on return."""
        await self._peaks.save()

    async def failure(self, task: Task, end: AttemptEnd) -> GpuFailed | GpuMemoryExhausted | None:
        """The event if the GPUs, or their memory, caused a failed attempt; `None` if they did
        not."""
        packing = self._state.packing
        failed = await self._failed(task, end)
        if failed is not None or packing is None or task.id not in packing.shared:
            return failed
        if is_failure(end) and reports_too_little_memory(await self._output(task)):
            return GpuMemoryExhausted(self._clock(), task.id, task.attempt)
        return None

    async def _failed(self, task: Task, end: AttemptEnd) -> GpuFailed | None:
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
                told[reading.uuid] = describe_xid(worst.code)
        if not told:
            return None
        words = ", ".join(dict.fromkeys(told.values()))
        why = f"its GPU had an error: {words}"
        return GpuFailed(self._clock(), task.id, task.attempt, tuple(told), why)

    def list(self, who: Principal) -> GpuReport:
        """All GPUs as they are now. A private server leaves out the tasks of others."""

        def may_see(task: Task) -> bool:
            return permissions.may_see(who, task, private=self._private)

        if nodes := self._host.nodes():
            held = [self._state.tasks[task_id] for task_id in self._state.held]
            return cluster_report(nodes, held, may_see, node_readings(self._host, held))
        seen = self._inventory.state if self._inventory is not None else GpuState()
        return gpu_report(self._state, seen, may_see)

    def watch(self, who: Principal) -> AsyncGenerator[GpuReport]:
        """Yield what `list` returns, now and when it has changed. Never ends by itself."""
        return self._reports.watch(who)

    async def _listed(self, who: Principal) -> GpuReport:
        return self.list(who)

    async def drain(self, who: Principal, uuid: str) -> GpuStatus:
        """Start nothing more on a GPU; what runs goes on. Durable on return, and idempotent.

        Raises Forbidden if the caller is no admin, NotFound.
        """
        self._require(who, uuid)
        # To the end, even when the caller leaves in between.
        await self._background.run_to_completion(self._drain_asked(who, uuid))
        return self._one(who, uuid)

    async def undrain(self, who: Principal, uuid: str) -> GpuStatus:
        """Mark a GPU healthy and use it again. Durable on return, and idempotent.

        Raises Forbidden if the caller is no admin, NotFound.
        """
        self._require(who, uuid)
        await self._background.run_to_completion(self._undrain_asked(who, uuid))
        return self._one(who, uuid)

    def _require(self, who: Principal, uuid: str) -> None:
        forbid(permissions.refusal(who, AdminOnly.GPUS) or self._host.drain_refusal)
        if uuid not in self._state.gpus.inventory:
            raise NotFound(f"GPU {uuid[:96]!r} not found")

    def _one(self, who: Principal, uuid: str) -> GpuStatus:
        for status in self.list(who).gpus:
            if status.gpu.uuid == uuid:
                return status
        raise NotFound(f"GPU {uuid[:96]!r} not found")

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
        """Until the launcher has found the processes that an earlier server began, those on a GPU
        that a task holds count as the task's."""
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
        """Take a reading and report it to the core, even if nothing has changed."""
        if self._inventory is not None:
            self._background.start(self._report_again(self._inventory))

    async def _report_again(self, inventory: GpuInventory) -> None:
        self._changed(await inventory.refresh())
