"""Reports to the core how much the GPUs that tasks hold are used, and their memory.

On one host the inventory reads them. On a cluster each task's own node measures them; nothing is
believed of other tasks' GPUs, and each measurement counts once, so that a record which is not
renewed any more leaves a gap.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fetchml.attempts.hosts import TaskHost
from fetchml.core.events import Event, GpuMemoryUsed, GpusUsed
from fetchml.core.gpus.allocator import Utilisation
from fetchml.core.gpus.health import GpuReading
from fetchml.core.state import State
from fetchml.core.usage import SAMPLE_MS
from fetchml.engine.gpus.cluster_report import with_gpus
from fetchml.engine.gpus.memory import memory_use
from fetchml.ports.gpu import GpuInventory, GpuState
from fetchml.system.background import every

LOOK_SECONDS = 2.0
"""Between two looks at the inventory's newest reading."""


class GpuActivity:
    """Collects the highest use of each GPU from the readings of a sample's time. Used from one
    event loop."""

    def __init__(
        self,
        state: State,
        host: TaskHost,
        inventory: GpuInventory | None,
        *,
        clock: Callable[[], int],
        report: Callable[[Event], asyncio.Future[None]],
    ) -> None:
        self._state = state
        self._inventory = inventory
        self._nodes = _Nodes(state, host)
        self._clock = clock
        self._report = report
        self._seen: GpuState | None = None
        self._found: dict[str, Utilisation] = {}
        self._holders: dict[str, tuple[str, ...]] = {}
        """Those of each GPU at the last look."""
        self._reported = clock()

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """While inside, use is reported every SAMPLE_MS, and memory with each reading, unless
        nobody asks."""
        if self._state.limits.idle is None and self._state.packing is None:
            yield
            return
        async with every(LOOK_SECONDS, self.look, failure="the use of GPUs can't be reported"):
            yield

    async def look(self) -> None:
        """Take over the newest reading; report if it is time to, and tasks hold GPUs."""
        state = self._inventory.state if self._inventory is not None else GpuState()
        if state is not self._seen and state.problem is None:
            self._seen = state
            for reading in state.readings:
                self._add(reading)
            if self._state.packing is not None:
                await self._report_memory(state)
        self._nodes.look()
        now = self._clock()
        if abs(now - self._reported) < SAMPLE_MS:
            return
        found, self._found, self._reported = self._found, {}, now
        if found and self._state.gpus.holders and self._state.limits.idle is not None:
            await self._report(GpusUsed(now, list(found.values())))
        if tasks := self._nodes.take():
            await self._report(GpusUsed(now, tasks=tasks))

    async def _report_memory(self, state: GpuState) -> None:
        """Report what each task uses. A GPU counts only if the same tasks were on it at the last
        look: a reading may be from before a task came."""
        before = self._holders
        self._holders = {uuid: tuple(ids) for uuid, ids in self._state.gpus.holders.items()}
        uses = (
            memory_use(reading, self._holders[reading.uuid])
            for reading in state.readings
            if reading.uuid in before and before[reading.uuid] == self._holders.get(reading.uuid)
        )
        found = [use for use in uses if use is not None]
        if found:
            await self._report(GpuMemoryUsed(self._clock(), found))

    def _add(self, reading: GpuReading) -> None:
        used = utilisation(reading)
        if used is None:
            return
        before = self._found.get(reading.uuid)
        self._found[reading.uuid] = used if before is None else before.or_more(used)


class _Nodes:
    """The highest use of each task's GPUs on nodes since the last report."""

    def __init__(self, state: State, host: TaskHost) -> None:
        self._state = state
        self._host = host
        self._marks: dict[tuple[str, int], str] = {}
        """Of the last measurement of each attempt."""
        self._most: dict[str, int] = {}
        """In percent, by task id."""

    def look(self) -> None:
        tasks = with_gpus(self._state.tasks[task_id] for task_id in self._state.held)
        found = self._host.gpu_readings(tasks)
        before, self._marks = self._marks, {key: each.mark for key, each in found.items()}
        for key, measured in found.items():
            if measured.mark == before.get(key):
                continue
            percent = _most_used(tasks[key].gpu_uuids, measured.gpus)
            if percent is not None:
                task_id, _ = key
                self._most[task_id] = max(percent, self._most.get(task_id, 0))

    def take(self) -> dict[str, int]:
        found, self._most = self._most, {}
        return found


def _most_used(uuids: Sequence[str], readings: Sequence[GpuReading]) -> int | None:
    """Return the highest use of these GPUs, in percent; `None` if that of one is not known."""
    used = {reading.uuid: utilisation(reading) for reading in readings}
    most = 0
    for uuid in uuids:
        if (use := used.get(uuid)) is None:
            return None
        most = max(most, use.percent)
    return most


def utilisation(reading: GpuReading) -> Utilisation | None:
    """Return the use that a reading shows; `None` if the driver does not report it."""
    if reading.lost is not None or reading.trouble is not None:
        return None
    by_task = reading.task_use
    if reading.utilisation_percent is None and by_task is None:
        return None
    # The driver's own value is that of the last moment; its samples by process have no gap.
    most = max([reading.utilisation_percent or 0, *(by_task or {}).values()])
    return Utilisation(reading.uuid, most, by_task)
