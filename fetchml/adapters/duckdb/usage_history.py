"""The history of use on DuckDB: its SQL statements, the writer in the maintenance thread, and
`ports.usage_store.UsageStore`. The tables are in `schema`, the units in `core.usage`.

Samples are appended. Those of an hour are later replaced by a row of `task_hours` or `gpu_hours`
with averages and maxima; readers see both as one.
"""

import queue
import time
from collections.abc import Callable, Sequence

import duckdb
from msgspec.structs import replace

from fetchml.adapters.duckdb.readers import Readers
from fetchml.core.usage import (
    DETAIL_MS,
    HISTORY_MS,
    HOUR_MS,
    SUMS_MS,
    DayUse,
    GpuHold,
    Period,
    UserDay,
    step_ms,
)
from fetchml.ports.usage_store import GpuPoint, TaskHistory, TaskPoint, UsageBatch

USAGE_UNTIL = "SELECT usage_until FROM meta"
SET_USAGE_UNTIL = "UPDATE meta SET usage_until = $1"
ADD_DAYS = """
    INSERT INTO user_days
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6)
    ON CONFLICT DO UPDATE SET gpu_ms = gpu_ms + excluded.gpu_ms,
                              cpu_ms = cpu_ms + excluded.cpu_ms,
                              completed = completed + excluded.completed,
                              failed = failed + excluded.failed
"""

# Tasks that were deleted by changes in (from, to].
DELETED = """
    SELECT DISTINCT task_id FROM journal
    WHERE seq > $1 AND seq <= $2 AND contains(data, '"hidden":true')
      AND coalesce((data->>'$.hidden')::BOOLEAN, false)
"""
OF_TASKS = ("task_usage", "task_hours", "gpu_holds")
FORGET = tuple(
    f"DELETE FROM {table} WHERE task_id IN (SELECT unnest($1))"  # noqa: S608 - our own text
    for table in OF_TASKS
)

SAMPLES = "SELECT (SELECT count(*) FROM task_usage) + (SELECT count(*) FROM gpu_usage)"
OLDEST_SAMPLE = """
    SELECT least((SELECT min(at_ms) FROM task_usage), (SELECT min(at_ms) FROM gpu_usage))
"""
SUM_UP = (
    # From the begin of an hour, $1, to its end, $2. Rounded, averages take less space.
    """
    INSERT INTO task_hours
    SELECT $1, task_id, attempt, count(*), round(avg(cpu), 1), max(cpu), round(avg(memory)),
           max(memory), round(avg(read)), max(read), round(avg(written)), max(written)
    FROM task_usage WHERE at_ms >= $1 AND at_ms < $2 GROUP BY task_id, attempt
    """,
    """
    INSERT INTO gpu_hours
    SELECT $1, uuid, count(*), round(avg(held::INTEGER), 3), round(avg(utilisation), 1),
           max(utilisation), round(avg(memory)), max(memory), round(avg(temperature), 1),
           max(temperature), round(avg(power)), max(power)
    FROM gpu_usage WHERE at_ms >= $1 AND at_ms < $2 GROUP BY uuid
    """,
)
SUMMED_UP = ("DELETE FROM task_usage WHERE at_ms < $1", "DELETE FROM gpu_usage WHERE at_ms < $1")


def prune(table: str, column: str) -> str:
    """Statement that keeps the newest $1 rows, and those from time $2 on."""
    return f"""
        DELETE FROM {table} WHERE {column} < greatest($2, coalesce(
            (SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET $1), 0))
    """  # noqa: S608 - our own text


PRUNE_DAYS = "DELETE FROM user_days WHERE day < $1"

_TASK_ROWS = f"""
    FROM (
        SELECT at_ms, at_ms + 1 AS until_ms, attempt, 1 AS samples, cpu, cpu AS cpu_max,
               memory, memory AS memory_max, read, read AS read_max,
               written, written AS written_max
        FROM task_usage WHERE task_id = $1 AND at_ms >= $2 AND at_ms < $3
        UNION ALL
        SELECT hour_ms, hour_ms + {HOUR_MS}, attempt, samples, cpu, cpu_max, memory, memory_max,
               read, read_max, written, written_max
        FROM task_hours WHERE task_id = $1 AND hour_ms > $2 - {HOUR_MS} AND hour_ms < $3
    ) WHERE $4 IS NULL OR attempt = $4
"""  # noqa: S608 - our own text
TASK_BOUNDS = f"SELECT min(at_ms), max(until_ms) {_TASK_ROWS}"
TASK_POINTS = f"""
    SELECT greatest(at_ms - $2, 0) // $5 AS bucket, max(attempt), sum(samples)::BIGINT,
           sum(cpu * samples) / sum(samples), max(cpu_max),
           sum(memory * samples) / sum(samples), max(memory_max),
           sum(read * samples) / sum(samples), max(read_max),
           sum(written * samples) / sum(samples), max(written_max)
    {_TASK_ROWS} GROUP BY bucket ORDER BY bucket
"""

GPU_UUIDS = f"""
    SELECT uuid FROM gpu_usage WHERE at_ms >= $1 AND at_ms < $2
    UNION
    SELECT uuid FROM gpu_hours WHERE hour_ms > $1 - {HOUR_MS} AND hour_ms < $2
    ORDER BY uuid
"""  # noqa: S608 - our own text


def _mean(column: str) -> str:
    """The average of the samples that have a value."""
    weight = f"sum(samples) FILTER ({column} IS NOT NULL)"
    return f"sum({column} * samples) / {weight}, max({column}_max)"


GPU_POINTS = f"""
    SELECT uuid, greatest(at_ms - $1, 0) // $3 AS bucket, sum(samples)::BIGINT,
           sum(held * samples) / sum(samples), {_mean("utilisation")}, {_mean("memory")},
           {_mean("temperature")}, {_mean("power")}
    FROM (
        SELECT at_ms, uuid, 1 AS samples, held::INTEGER AS held,
               utilisation, utilisation AS utilisation_max, memory, memory AS memory_max,
               temperature, temperature AS temperature_max, power, power AS power_max
        FROM gpu_usage WHERE at_ms >= $1 AND at_ms < $2
        UNION ALL
        SELECT hour_ms, uuid, samples, held, utilisation, utilisation_max, memory, memory_max,
               temperature, temperature_max, power, power_max
        FROM gpu_hours WHERE hour_ms > $1 - {HOUR_MS} AND hour_ms < $2
    ) GROUP BY uuid, bucket ORDER BY uuid, bucket
"""  # noqa: S608 - our own text

GPU_HOLDS = """
    SELECT uuid, task_id, usr, since_ms, until_ms FROM gpu_holds
    WHERE until_ms > $1 AND since_ms < $2 AND ($4 IS NULL OR usr = $4)
    ORDER BY since_ms DESC, uuid LIMIT $3
"""
DAYS = """
    SELECT day, usr, gpu_ms, cpu_ms, completed, failed FROM user_days
    WHERE day >= $1 AND day <= $2 AND ($4 IS NULL OR usr = $4)
    ORDER BY day DESC, usr LIMIT $3
"""


HOURS_PART = 4
"""Rows of hours, of tasks and of GPUs, are at most one part in this many of the samples."""
HOLDS_PART = 16
MAX_WAITING = 100
"""Batches in memory. More come only while the thread is stuck; they are dropped."""


class UsageWriter:
    """All methods but `record` are called in the maintenance thread."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        commit: Callable[[], None],
        *,
        rows: int,
        now_ms: Callable[[], int],
    ) -> None:
        """`cursor`: of the maintenance thread, which `commit` commits. `rows`: samples that are
        kept at most."""
        self._cursor = cursor
        self._commit = commit
        self._rows = rows
        self._now_ms = now_ms
        self._waiting: queue.SimpleQueue[UsageBatch] = queue.SimpleQueue()

    def record(self, batch: UsageBatch) -> None:
        """In any thread. Never blocks."""
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(batch)

    def write(self, *, has_room: bool) -> None:
        """Store all that waits, in one commit; without room on the disk, drop it."""
        batches = list[UsageBatch]()
        while not self._waiting.empty():
            batches.append(self._waiting.get())
        if not batches or not has_room:
            return
        self._cursor.begin()
        self._append(
            "task_usage",
            [
                (s.at, s.task_id, s.attempt, s.cpu, s.memory, s.read, s.write)
                for batch in batches
                for s in batch.tasks
            ],
        )
        self._append(
            "gpu_usage",
            [
                (s.at, s.uuid, s.utilisation, s.memory, s.temperature, s.power, s.held)
                for batch in batches
                for s in batch.gpus
            ],
        )
        self._append(
            "gpu_holds",
            [
                (h.uuid, h.task_id, h.user, h.since, h.until)
                for batch in batches
                for h in batch.holds
            ],
        )
        self._add_days(batches)
        self._cursor.execute(SET_USAGE_UNTIL, [max(each.until for each in batches)])
        self._commit()

    def forget_deleted(self, first: int, last: int) -> None:
        """Remove the history of tasks that the changes in (first, last] delete. Within the
        transaction that folds these changes, and after `write`: their samples are stored."""
        rows = self._cursor.execute(DELETED, [first, last]).fetchall()
        if rows:
            ids = [task_id for (task_id,) in rows]
            for statement in FORGET:
                self._cursor.execute(statement, [ids])

    def sum_up(self) -> bool:
        """Replace the samples of one old hour by sums. Returns whether there may be more."""
        now = self._now_ms()
        [(samples,)] = self._cursor.execute(SAMPLES).fetchall()
        [(oldest,)] = self._cursor.execute(OLDEST_SAMPLE).fetchall()
        if oldest is None:
            return False
        hour = oldest - oldest % HOUR_MS
        if hour + HOUR_MS > now - DETAIL_MS and samples <= self._rows:
            return False
        self._cursor.begin()
        for statement in SUM_UP:
            self._cursor.execute(statement, [hour, hour + HOUR_MS])
        for statement in SUMMED_UP:
            self._cursor.execute(statement, [hour + HOUR_MS])
        self._commit()
        return True

    def prune(self) -> None:
        """Remove entries that are too old or too many."""
        now = self._now_ms()
        self._cursor.begin()
        for table, column, rows in (
            ("task_hours", "hour_ms", self._rows // HOURS_PART),
            ("gpu_hours", "hour_ms", self._rows // HOURS_PART),
            ("gpu_holds", "until_ms", self._rows // HOLDS_PART),
        ):
            statement = prune(table, column)
            self._cursor.execute(statement, [rows, now - HISTORY_MS])
        oldest = time.strftime("%Y-%m-%d", time.gmtime((now - SUMS_MS) // 1000))
        self._cursor.execute(PRUNE_DAYS, [oldest])
        self._commit()

    def _append(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            with self._cursor.appender(table) as appender:
                appender.append_rows(rows)

    def _add_days(self, batches: Sequence[UsageBatch]) -> None:
        sums = dict[UserDay, DayUse]()
        for batch in batches:
            for key, use in batch.days.items():
                sums[key] = sums.get(key, DayUse()).plus(use)
        if sums:
            columns = zip(
                *(
                    (key.day, key.user, use.gpu_ms, use.cpu_ms, use.completed, use.failed)
                    for key, use in sums.items()
                ),
                strict=True,
            )
            self._cursor.execute(ADD_DAYS, [list(column) for column in columns])


class UsageTables:
    def __init__(self, writer: UsageWriter, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    def record(self, batch: UsageBatch) -> None:
        self._writer.record(batch)

    async def accounted_until(self) -> int:
        def read(cursor: duckdb.DuckDBPyConnection) -> int:
            [(until,)] = cursor.execute(USAGE_UNTIL).fetchall()
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
            rows = cursor.execute(GPU_UUIDS, [period.since, period.until]).fetchall()
            return [uuid for (uuid,) in rows]

        return await self._readers.read(read, slow=True)

    async def gpu_history(self, period: Period, step: int) -> list[GpuPoint]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[GpuPoint]:
            which = [period.since, period.until, step]
            return [
                GpuPoint(uuid, period.since + bucket * step, *rest)
                for uuid, bucket, *rest in cursor.execute(GPU_POINTS, which).fetchall()
            ]

        return await self._readers.read(read, slow=True)

    async def gpu_holds(self, period: Period, limit: int, user: str | None) -> list[GpuHold]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[GpuHold]:
            which = [period.since, period.until, limit, user]
            return [GpuHold(*row) for row in cursor.execute(GPU_HOLDS, which).fetchall()]

        return await self._readers.read(read, slow=True)

    async def days(
        self, first: str, last: str, limit: int, user: str | None
    ) -> list[tuple[UserDay, DayUse]]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[UserDay, DayUse]]:
            which = [first, last, limit, user]
            return [
                (UserDay(day, name), DayUse(*sums))
                for day, name, *sums in cursor.execute(DAYS, which).fetchall()
            ]

        return await self._readers.read(read, slow=True)


def _task_history(
    cursor: duckdb.DuckDBPyConnection, task_id: str, period: Period, attempt: int | None
) -> TaskHistory:
    which = [task_id, period.since, period.until, attempt]
    [(first, last)] = cursor.execute(TASK_BOUNDS, which).fetchall()
    if first is None:
        return TaskHistory(task_id, period.since, period.until, step_ms(0, 1, 1))
    recorded = replace(period, since=max(period.since, first), until=min(period.until, last))
    step = step_ms(recorded.since, recorded.until, recorded.points)
    which = [task_id, recorded.since, recorded.until, attempt, step]
    points = [
        TaskPoint(recorded.since + bucket * step, *rest)
        for bucket, *rest in cursor.execute(TASK_POINTS, which).fetchall()
    ]
    return TaskHistory(task_id, recorded.since, recorded.until, step, points)
