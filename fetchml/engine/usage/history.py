"""The history of use, as far as the caller may see it. Verbs raise `errors.RequestError`."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import tzinfo
from itertools import groupby
from operator import attrgetter

import msgspec

from fetchml.core import permissions
from fetchml.core import usage as requests
from fetchml.core.model import Principal
from fetchml.core.state import State
from fetchml.core.usage import (
    MAX_HOLDS,
    MAX_POINTS_IN_ALL,
    MAX_ROWS,
    DayUse,
    GpuHold,
    UserDay,
    step_ms,
)
from fetchml.engine.daily_counts import day_of
from fetchml.engine.slow_reads import HISTORY_TOO_LONG, SlowReads
from fetchml.engine.tasks.tasks import Tasks
from fetchml.engine.usage.ledger import UsageLedger
from fetchml.engine.usage.sampler import UsageSampler
from fetchml.errors import BadRequest
from fetchml.ports.store import Store
from fetchml.ports.usage_store import GpuPoint, TaskHistory
from fetchml.views import TaskUse

MAX_TASKS = 200
"""Running tasks in the metrics: those that use the most memory."""


class GpuTrack(msgspec.Struct, frozen=True):
    """The history of one GPU."""

    uuid: str
    name: str
    """Empty if the GPU is not there any more."""
    points: list[GpuPoint]
    """In the order of time, without empty buckets."""
    holds: list[GpuHold]
    """Of tasks that the caller may see, newest first."""


class GpuHistory(msgspec.Struct, frozen=True):
    since: int
    until: int
    step: int
    """Width of the buckets, in milliseconds."""
    gpus: list[GpuTrack]


class DaysOfUse(msgspec.Struct, frozen=True):
    first: str
    last: str
    rows: list[tuple[UserDay, DayUse]]
    """Newest day first."""


class UsageHistory:
    """Used from one event loop."""

    def __init__(
        self,
        store: Store,
        state: State,
        ledger: UsageLedger,
        sampler: UsageSampler,
        slow_reads: SlowReads,
        tasks: Tasks,
        *,
        clock: Callable[[], int],
        zone: tzinfo,
        private: bool,
    ) -> None:
        self._store = store
        self._state = state
        self._ledger = ledger
        self._sampler = sampler
        self._slow_reads = slow_reads
        self._tasks = tasks
        self._clock = clock
        self._zone = zone
        self._private = private

    async def of_task(
        self,
        who: Principal,
        task_id: str,
        *,
        since: int | None = None,
        until: int | None = None,
        points: int | None = None,
        attempt: int | None = None,
    ) -> TaskHistory:
        """Return the resources that a task used. Times in milliseconds since the epoch (UTC).
        Raises NotFound, BadRequest."""
        task = await self._tasks.get(who, task_id)
        _require(requests.history_fault(since, until, points))
        if attempt is not None and attempt < 1:
            raise BadRequest("attempt: must be at least 1")
        period = requests.of_task(since, until, points, self._clock())
        async with self._turn(who):
            return await self._store.usage.task_history(task.id, period, attempt)

    async def of_gpus(
        self, who: Principal, since: int | None, until: int | None, points: int | None
    ) -> GpuHistory:
        """Return the use of the GPUs, and the tasks that held them. Raises BadRequest."""
        _require(requests.history_fault(since, until, points))
        period = requests.of_gpus(since, until, points, self._clock())
        if period.since >= period.until:
            return GpuHistory(period.since, period.since, step_ms(0, 1, 1), [])
        async with self._turn(who):
            return await self._of_gpus(who, period)

    async def _of_gpus(self, who: Principal, period: requests.Period) -> GpuHistory:
        own = None if self._sees_all(who) else who.user
        # First: one that ends meanwhile is in the store next.
        in_memory = self._ledger.holds()
        stored = await self._store.usage.gpu_holds(period, MAX_HOLDS, own)
        uuids = await self._store.usage.gpu_uuids(period)
        known = sorted(self._state.gpus.inventory.values(), key=attrgetter("position", "uuid"))
        names = {gpu.uuid: gpu.name for gpu in known}
        visible = [
            hold
            for hold in in_memory
            if hold.since < period.until
            and (hold.until is None or hold.until > period.since)
            and permissions.may_see(who, hold, private=self._private)
        ]
        # The GPUs of a cluster have no samples.
        held = (hold.uuid for hold in (*visible, *stored))
        others = dict.fromkeys(uuid for uuid in (*uuids, *held) if uuid not in names)
        tracks = [GpuTrack(uuid, name, [], []) for uuid, name in names.items()]
        tracks += [GpuTrack(uuid, "", [], []) for uuid in others]
        each = max(1, min(period.points, MAX_POINTS_IN_ALL // max(1, len(tracks))))
        step = step_ms(period.since, period.until, each)
        found = await self._store.usage.gpu_history(period, step)
        by_uuid = {track.uuid: track for track in tracks}
        for uuid, points_of_gpu in groupby(found, attrgetter("uuid")):
            if uuid in by_uuid:
                by_uuid[uuid].points.extend(points_of_gpu)
        for hold in _newest([*visible, *stored]):
            if hold.uuid in by_uuid:
                by_uuid[hold.uuid].holds.append(hold)
        return GpuHistory(period.since, period.until, step, tracks)

    async def by_day(self, who: Principal, since: int | None, until: int | None) -> DaysOfUse:
        """GPU time and ended tasks by user and day. Raises BadRequest."""
        now = self._clock()
        _require(requests.days_fault(since, until, now))
        period = requests.of_days(since, until, now)
        first, last = day_of(period.since, self._zone), day_of(period.until, self._zone)
        own = None if self._sees_all(who) else who.user
        async with self._turn(who):
            rows = await self._store.usage.days(first, last, MAX_ROWS + 1, own)
        if len(rows) > MAX_ROWS:
            raise BadRequest(
                f"since: more than {MAX_ROWS} days of users: set since and until to fewer days"
            )
        return DaysOfUse(first, last, rows)

    def newest(self, who: Principal) -> list[TaskUse]:
        """Return the use of running tasks up to the last sample: those with the most memory."""
        found = []
        for task_id, measured in self._sampler.newest.items():
            task = self._state.tasks.get(task_id)
            if task is not None and permissions.may_see(who, task, private=self._private):
                use = measured.use
                found.append(
                    TaskUse(
                        task_id,
                        task.user,
                        cpu_seconds=use.cpu_ms / 1000,
                        memory_bytes=use.memory_kb << 10,
                        read_bytes=use.read_kb << 10,
                        written_bytes=use.write_kb << 10,
                    )
                )
        found.sort(key=lambda use: use.memory_bytes, reverse=True)
        return found[:MAX_TASKS]

    def _turn(self, who: Principal) -> AbstractAsyncContextManager[None]:
        return self._slow_reads.turn(who.user, HISTORY_TOO_LONG)

    def _sees_all(self, who: Principal) -> bool:
        return permissions.sees_all(who, private=self._private)


def _newest(holds: Iterable[GpuHold]) -> list[GpuHold]:
    """The latest holds, each once: one may be in memory and stored already."""
    found = {(hold.uuid, hold.task_id, hold.since): hold for hold in holds}
    newest = sorted(found.values(), key=lambda hold: (hold.since, hold.task_id), reverse=True)
    return newest[:MAX_HOLDS]


def _require(fault: str | None) -> None:
    if fault is not None:
        raise BadRequest(fault)
