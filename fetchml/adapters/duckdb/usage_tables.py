"""The history of use on DuckDB: `ports.usage.UsageStore`."""

import duckdb
from msgspec.structs import replace

from fetchml.adapters.duckdb import usage_sql
from fetchml.adapters.duckdb.readers import Readers
from fetchml.adapters.duckdb.usage_writer import UsageWriter
from fetchml.core.usage import DayUse, GpuHold, Period, UserDay, step_ms
from fetchml.ports.usage import GpuPoint, TaskHistory, TaskPoint, UsageBatch


class UsageTables:
    def __init__(self, writer: UsageWriter, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    def record(self, batch: UsageBatch) -> None:
        self._writer.record(batch)

    async def accounted_until(self) -> int:
        def read(cursor: duckdb.DuckDBPyConnection) -> int:
            [(until,)] = cursor.execute(usage_sql.USAGE_UNTIL).fetchall()
            return int(until or 0)

        return await self._readers.read(read)

    async def task_history(
        self, task_id: str, period: Period, attempt: int | None = None
    ) -> TaskHistory:
        def read(cursor: duckdb.DuckDBPyConnection) -> TaskHistory:
            # One state for both statements: meanwhile samples may be summed up or removed.
            cursor.begin()
            try:
                return _task_history(cursor, task_id, period, attempt)
            finally:
                cursor.rollback()

        return await self._readers.read(read, slow=True)

    async def gpu_uuids(self, period: Period) -> list[str]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[str]:
            rows = cursor.execute(usage_sql.GPU_UUIDS, [period.since, period.until]).fetchall()
            return [uuid for (uuid,) in rows]

        return await self._readers.read(read, slow=True)

    async def gpu_history(self, period: Period, step: int) -> list[GpuPoint]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[GpuPoint]:
            which = [period.since, period.until, step]
            return [
                GpuPoint(uuid, period.since + bucket * step, *rest)
                for uuid, bucket, *rest in cursor.execute(usage_sql.GPU_POINTS, which).fetchall()
            ]

        return await self._readers.read(read, slow=True)

    async def gpu_holds(self, period: Period, limit: int, user: str | None) -> list[GpuHold]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[GpuHold]:
            which = [period.since, period.until, limit, user]
            return [GpuHold(*row) for row in cursor.execute(usage_sql.GPU_HOLDS, which).fetchall()]

        return await self._readers.read(read, slow=True)

    async def days(
        self, first: str, last: str, limit: int, user: str | None
    ) -> list[tuple[UserDay, DayUse]]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[UserDay, DayUse]]:
            which = [first, last, limit, user]
            return [
                (UserDay(day, name), DayUse(*sums))
                for day, name, *sums in cursor.execute(usage_sql.DAYS, which).fetchall()
            ]

        return await self._readers.read(read, slow=True)


def _task_history(
    cursor: duckdb.DuckDBPyConnection, task_id: str, period: Period, attempt: int | None
) -> TaskHistory:
    which = [task_id, period.since, period.until, attempt]
    [(first, last)] = cursor.execute(usage_sql.TASK_BOUNDS, which).fetchall()
    if first is None:
        return TaskHistory(task_id, period.since, period.until, step_ms(0, 1, 1))
    found = replace(period, since=max(period.since, first), until=min(period.until, last))
    step = step_ms(found.since, found.until, found.points)
    which = [task_id, found.since, found.until, attempt, step]
    points = [
        TaskPoint(found.since + bucket * step, *rest)
        for bucket, *rest in cursor.execute(usage_sql.TASK_POINTS, which).fetchall()
    ]
    return TaskHistory(task_id, found.since, found.until, step, points)
