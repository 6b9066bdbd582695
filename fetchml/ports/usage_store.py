"""The store's history of use: samples of tasks and GPUs, who held which GPU, sums by user and day.

A part of the store (`ports.store`): usable while that is open.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from fetchml.core.usage import DayUse, GpuHold, GpuSample, Period, TaskSample, UserDay


class UsageBatch(msgspec.Struct, frozen=True):
    """The samples of one moment."""

    until: int
    """Up to here `days` has everything (milliseconds since the epoch, UTC)."""
    tasks: Sequence[TaskSample] = ()
    gpus: Sequence[GpuSample] = ()
    holds: Sequence[GpuHold] = ()
    """Those that have ended."""
    days: Mapping[UserDay, DayUse] = {}
    """Added to what is stored."""


class TaskPoint(msgspec.Struct, frozen=True):
    """The samples of a task in one bucket of time: averages and maxima, in their units."""

    at: int
    """Begin of the bucket."""
    attempt: int
    """The last one that has a sample in it."""
    samples: int
    cpu: float
    cpu_max: int
    memory: float
    memory_max: int
    read: float
    read_max: int
    write: float
    write_max: int


class TaskHistory(msgspec.Struct, frozen=True):
    task_id: str
    since: int
    until: int
    step: int
    """Width of the buckets, in milliseconds."""
    points: Sequence[TaskPoint] = ()
    """In the order of time, without empty buckets."""

    @property
    def total(self) -> TaskPoint | None:
        """All points as one; `None` if there are none."""
        if not self.points:
            return None
        samples = sum(each.samples for each in self.points)
        averages = {
            name: sum(getattr(each, name) * each.samples for each in self.points) / samples
            for name in ("cpu", "memory", "read", "write")
        }
        most = {
            f"{name}_max": max(getattr(each, f"{name}_max") for each in self.points)
            for name in averages
        }
        attempt = max(each.attempt for each in self.points)
        return TaskPoint(self.since, attempt, samples, **averages, **most)


class GpuPoint(msgspec.Struct, frozen=True):
    """The samples of a GPU in one bucket of time. `None`: the driver did not report it."""

    uuid: str
    at: int
    samples: int
    held: float
    """Share of the samples in which a task held it, 0 to 1."""
    utilisation: float | None
    utilisation_max: int | None
    memory: float | None
    memory_max: int | None
    temperature: float | None
    temperature_max: int | None
    power: float | None
    power_max: int | None


class UsageStore(Protocol):
    """Nothing here delays a change of a task, and a crash loses the last seconds. Reads of the
    history raise `ports.store.ReadTooLong`."""

    async def accounted_until(self) -> int:
        """Return the `until` of the last stored batch; 0 if there is none."""

    def record(self, batch: UsageBatch) -> None:
        """Store a batch within a second. Never blocks. Batches are dropped while the disk is
        full."""

    async def task_history(
        self, task_id: str, period: Period, attempt: int | None = None
    ) -> TaskHistory:
        """Return what a task used. The period is narrowed to the time that has samples."""

    async def gpu_uuids(self, period: Period) -> list[str]:
        """Return the GPUs that have samples in the period."""

    async def gpu_history(self, period: Period, step: int) -> list[GpuPoint]:
        """Return the history of all GPUs, in the order of UUID and time."""

    async def gpu_holds(self, period: Period, limit: int, user: str | None) -> list[GpuHold]:
        """Return the latest times in which tasks held GPUs, newest first: all of them, or those of
        one user. Those that go on are not among them."""

    async def days(
        self, first: str, last: str, limit: int, user: str | None
    ) -> list[tuple[UserDay, DayUse]]:
        """Return the sums of the days from `first` to `last`, newest day first: of all users, or of
        one."""
