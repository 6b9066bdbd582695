"""The history of use in memory. `tests/adapters/duckdb/test_usage.py` compares DuckDB with it."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

from msgspec.structs import replace

from fetchml.core.usage import (
    SAMPLE_MS,
    DayUse,
    GpuHold,
    GpuSample,
    Period,
    TaskSample,
    UserDay,
    step_ms,
)
from fetchml.ports.usage_store import GpuPoint, TaskHistory, TaskPoint, UsageBatch


class MemoryUsage:
    """It knows no hours: it is as exact as its samples."""

    def __init__(self) -> None:
        self.tasks = list[TaskSample]()
        self.gpus = list[GpuSample]()
        self.holds = list[GpuHold]()
        self.sums = defaultdict[UserDay, DayUse](DayUse)
        self.until = 0

    async def accounted_until(self) -> int:
        return self.until

    def record(self, batch: UsageBatch) -> None:
        self.until = batch.until
        self.tasks += batch.tasks
        self.gpus += batch.gpus
        self.holds += batch.holds
        for key, use in batch.days.items():
            self.sums[key] = self.sums[key].plus(use)

    def forget(self, task_id: str) -> None:
        self.tasks = [each for each in self.tasks if each.task_id != task_id]
        self.holds = [each for each in self.holds if each.task_id != task_id]

    async def task_history(
        self, task_id: str, period: Period, attempt: int | None = None
    ) -> TaskHistory:
        found = [
            each
            for each in self.tasks
            if each.task_id == task_id
            and period.since <= each.at < period.until
            and attempt in (None, each.attempt)
        ]
        if not found:
            return TaskHistory(task_id, period.since, period.until, SAMPLE_MS)
        first, last = min(each.at for each in found), max(each.at for each in found) + 1
        period = replace(period, since=first, until=last)
        step = step_ms(first, last, period.points)
        buckets = defaultdict[int, list[TaskSample]](list)
        for each in found:
            buckets[(each.at - first) // step].append(each)
        points = [_task_point(first + number * step, buckets[number]) for number in sorted(buckets)]
        return TaskHistory(task_id, first, last, step, points)

    async def gpu_uuids(self, period: Period) -> list[str]:
        return sorted({each.uuid for each in self.gpus if period.since <= each.at < period.until})

    async def gpu_history(self, period: Period, step: int) -> list[GpuPoint]:
        buckets = defaultdict[tuple[str, int], list[GpuSample]](list)
        for each in self.gpus:
            if period.since <= each.at < period.until:
                buckets[each.uuid, (each.at - period.since) // step].append(each)
        return [
            _gpu_point(uuid, period.since + number * step, buckets[uuid, number])
            for uuid, number in sorted(buckets)
        ]

    async def gpu_holds(self, period: Period, limit: int, user: str | None) -> list[GpuHold]:
        found = [
            each
            for each in self.holds
            if each.since < period.until
            and (each.until or 0) > period.since
            and user in (None, each.user)
        ]
        return sorted(found, key=lambda each: (-each.since, each.uuid))[:limit]

    async def days(
        self, first: str, last: str, limit: int, user: str | None
    ) -> list[tuple[UserDay, DayUse]]:
        found = [
            (key, use)
            for key, use in self.sums.items()
            if first <= key.day <= last and user in (None, key.user)
        ]
        found.sort(key=lambda row: row[0].user)
        found.sort(key=lambda row: row[0].day, reverse=True)
        return found[:limit]


def _task_point(at: int, found: Sequence[TaskSample]) -> TaskPoint:
    columns = [
        [getattr(each, name) for each in found] for name in ("cpu", "memory", "read", "write")
    ]
    values = [function(column) for column in columns for function in (mean, max)]
    return TaskPoint(at, max(each.attempt for each in found), len(found), *values)


def _gpu_point(uuid: str, at: int, found: Sequence[GpuSample]) -> GpuPoint:
    values = list[float | None]()
    for name in ("utilisation", "memory", "temperature", "power"):
        known = [value for each in found if (value := getattr(each, name)) is not None]
        values += [mean(known), max(known)] if known else [None, None]
    return GpuPoint(uuid, at, len(found), mean(each.held for each in found), *values)  # type: ignore[arg-type]
