"""Takes a sample of each running task and of each GPU, every ten seconds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from fetchml.attempts.hosts import TaskHost
from fetchml.attempts.manager import AttemptManager
from fetchml.core.gpus.health import GpuReading
from fetchml.core.model import Status, Task
from fetchml.core.state import State
from fetchml.core.usage import SAMPLE_MS, GpuSample, TaskSample
from fetchml.engine.gpus.cluster_report import node_readings
from fetchml.engine.usage.ledger import UsageLedger
from fetchml.ports.gpu import GpuInventory
from fetchml.ports.launcher import Launcher, LaunchSpec, ResourceUse
from fetchml.ports.store import Store
from fetchml.ports.usage_store import UsageBatch
from fetchml.system.background import every

LARGEST = (1 << 31) - 1
"""Largest value a sample may hold."""
FIRST_MS = 2 * SAMPLE_MS
"""An attempt that began longer ago is sampled from its second measurement on: what it used before
is not what it uses now."""
SHORTEST_SECONDS = 0.1
"""Two measurements closer to each other make no rate."""
MEMORY_UNIT_KB = 64


class Measured(NamedTuple):
    """The newest measurement of a task."""

    attempt: int
    seconds: float
    """Of the event loop's clock."""
    use: ResourceUse
    sample: TaskSample | None
    """`None` until there is a rate."""


class UsageSampler:
    """Used from one event loop."""

    def __init__(
        self,
        store: Store,
        state: State,
        attempts: AttemptManager,
        launcher: Launcher,
        host: TaskHost,
        inventory: GpuInventory | None,
        ledger: UsageLedger,
        *,
        clock: Callable[[], int],
        samples: bool,
    ) -> None:
        """`samples`: false to record the sums by user and day only."""
        self._store = store
        self._state = state
        self._attempts = attempts
        self._launcher = launcher
        self._host = host
        self._inventory = inventory
        self._ledger = ledger
        self._clock = clock
        self._samples = samples
        self.newest: dict[str, Measured] = {}
        """By the ids of running tasks."""

    @asynccontextmanager
    async def sampling(self) -> AsyncIterator[None]:
        """While inside, samples are taken."""
        seconds = SAMPLE_MS / 1000
        async with every(seconds, self.sample, failure="what tasks use can't be recorded"):
            yield
        holds, days, until = self._ledger.take()
        self._store.usage.record(UsageBatch(until, holds=holds, days=days))

    async def sample(self) -> None:
        """Take one sample of everything, and record it."""
        tasks: list[TaskSample] = []
        gpus: list[GpuSample] = []
        try:
            if self._samples:
                gpus = self._read_gpus(self._clock())
                tasks = await self._measure()
        finally:
            # What has ended is recorded also while the launcher fails: the ledger keeps it.
            holds, days, until = self._ledger.take()
            self._store.usage.record(UsageBatch(until, tasks, gpus, holds, days))

    async def _measure(self) -> list[TaskSample]:
        specs = [spec for spec in map(self._attempts.launched, self._running()) if spec is not None]
        measured = await self._launcher.usage(specs)
        now, at = asyncio.get_running_loop().time(), self._clock()
        # Whatever has ended meanwhile may have been deleted: it gets no more samples.
        running = self._running()
        before, self.newest = self.newest, {}
        for spec, use in zip(specs, measured, strict=True):
            if use is not None and (task := running.get(spec.task_id)):
                last = before.get(spec.task_id)
                self.newest[spec.task_id] = _measured(task, spec, last, use, at, now)
        found = (each.sample for each in self.newest.values())
        return [sample for sample in found if sample is not None and sample.at == at]

    def _running(self) -> dict[str, Task]:
        held = (self._state.tasks[task_id] for task_id in self._state.held)
        return {t.id: t for t in held if t.status is Status.RUNNING and not t.service}

    def _read_gpus(self, at: int) -> list[GpuSample]:
        held = [self._state.tasks[task_id] for task_id in self._state.held]
        readings = node_readings(self._host, held).values()
        samples = [_gpu_sample(reading, at, held=True) for reading in readings]
        if self._inventory is None:
            return samples
        return samples + [
            _gpu_sample(reading, at, held=bool(self._state.gpus.holders.get(reading.uuid)))
            for reading in self._inventory.state.readings
            if reading.lost is None and reading.trouble is None
        ]


def _measured(
    task: Task, spec: LaunchSpec, last: Measured | None, use: ResourceUse, at: int, now: float
) -> Measured:
    """Return the measurement, with a sample of what was used since the last one."""
    if last is not None and last.attempt != spec.attempt:
        last = None
    measured_at = at if use.at_ms is None else use.at_ms
    if use.at_ms is not None:
        now = use.at_ms / 1000
    if last is not None:
        seconds, before = now - last.seconds, last.use
    else:
        age = measured_at - (task.started_at or 0)
        seconds, before = age / 1000 if age <= FIRST_MS else 0.0, ResourceUse(0, 0, 0, 0)
    if seconds < SHORTEST_SECONDS:
        return last or Measured(spec.attempt, now, use, None)
    sample = TaskSample(
        at,
        spec.task_id,
        spec.attempt,
        cpu=_stored((use.cpu_ms - before.cpu_ms) / 10 / seconds),
        memory=_stored(-(-use.memory_kb // MEMORY_UNIT_KB)),
        read=_stored((use.read_kb - before.read_kb) / seconds),
        write=_stored((use.write_kb - before.write_kb) / seconds),
    )
    return Measured(spec.attempt, now, use, sample)


def _gpu_sample(reading: GpuReading, at: int, *, held: bool) -> GpuSample:
    return GpuSample(
        at,
        reading.uuid,
        reading.utilisation_percent,
        None if reading.used_mb is None else _stored(reading.used_mb),
        reading.temperature_c,
        reading.power_w,
        held,
    )


def _stored(number: float) -> int:
    return min(max(0, round(number)), LARGEST)
