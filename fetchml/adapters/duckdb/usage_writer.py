"""Writes the history of use, in the maintenance thread: batches, deletions, sums of old samples."""

import queue
import time
from collections.abc import Callable, Sequence

import duckdb

from fetchml.adapters.duckdb import usage_sql
from fetchml.core.usage import DETAIL_MS, HISTORY_MS, HOUR_MS, SUMS_MS, DayUse, UserDay
from fetchml.ports.usage import UsageBatch

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
        self._cursor.execute(usage_sql.SET_USAGE_UNTIL, [max(each.until for each in batches)])
        self._commit()

    def forget_deleted(self, first: int, last: int) -> None:
        """Remove the history of tasks that the changes in (first, last] delete. Within the
        transaction that folds these changes, and after `write`: their samples are stored."""
        rows = self._cursor.execute(usage_sql.DELETED, [first, last]).fetchall()
        if rows:
            ids = [task_id for (task_id,) in rows]
            for statement in usage_sql.FORGET:
                self._cursor.execute(statement, [ids])

    def sum_up(self) -> bool:
        """Replace the samples of one old hour by sums. Returns whether there may be more."""
        now = self._now_ms()
        [(samples,)] = self._cursor.execute(usage_sql.SAMPLES).fetchall()
        [(oldest,)] = self._cursor.execute(usage_sql.OLDEST_SAMPLE).fetchall()
        if oldest is None:
            return False
        hour = oldest - oldest % HOUR_MS
        if hour + HOUR_MS > now - DETAIL_MS and samples <= self._rows:
            return False
        self._cursor.begin()
        for statement in usage_sql.SUM_UP:
            self._cursor.execute(statement, [hour, hour + HOUR_MS])
        for statement in usage_sql.SUMMED_UP:
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
            statement = usage_sql.prune(table, column)
            self._cursor.execute(statement, [rows, now - HISTORY_MS])
        oldest = time.strftime("%Y-%m-%d", time.gmtime((now - SUMS_MS) // 1000))
        self._cursor.execute(usage_sql.PRUNE_DAYS, [oldest])
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
            self._cursor.execute(usage_sql.ADD_DAYS, [list(column) for column in columns])
