"""Folds points of metrics into `series`, and removes runs that were deleted long ago. All methods
but `committed` and `wait` are called in the maintenance thread."""

import threading
from collections.abc import Callable

import duckdb

from fetchml.adapters.duckdb import tracking_sql as sql
from fetchml.core.tracking import DELETED_KEPT_MS

FOLD_POINTS = 20_000
"""A backlog of this size is folded immediately."""
TAIL_POINTS = 500_000
"""Commits wait while more than this is not folded, which bounds the wait of a read or a start."""
REMOVED_SERIES = 200
"""Series removed in one transaction at most."""
REMOVED_POINTS = 1_000_000
"""A transaction that removes this many of their points takes no further series."""


class PointsFold:
    """`series` has all points up to the number `folded_seq`, which only grows."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        commit: Callable[[], None],
        *,
        now_ms: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        """`cursor`: of the maintenance thread, which `commit` commits and `wake` wakes."""
        self._cursor = cursor
        self._commit = commit
        self._now_ms = now_ms
        self._wake = wake
        self._folded = threading.Condition()
        self._failed = False
        self._has_orphans = True
        [(folded,)] = cursor.execute(sql.READ_FOLDED_POINTS).fetchall()
        self.folded_seq = int(folded or 0)
        [(durable, rows)] = cursor.execute(sql.UNFOLDED_POINTS, [self.folded_seq]).fetchall()
        self.durable_seq = int(durable)
        self._durable_rows = int(rows)
        self._folded_rows = 0
        """Both count since the start, and from the first row that was not folded then."""
        self.fold()

    def committed(self, seq: int, rows: int) -> None:
        """Record that points up to `seq` are durable. Called in the writer's thread; waits while
        too much is not folded."""
        self._durable_rows += rows
        self.durable_seq = seq
        waiting = self._durable_rows - self._folded_rows
        if waiting >= FOLD_POINTS:
            self._wake()
        if waiting > TAIL_POINTS:
            self.wait()

    def wait(self) -> None:
        """Block until everything durable is folded. Raises RuntimeError after a failure."""
        target = self.durable_seq
        if self.folded_seq < target:
            with self._folded:
                self._wake()
                self._folded.wait_for(lambda: self.folded_seq >= target or self._failed)
            if self.folded_seq < target:
                raise RuntimeError("the store has failed; the program must end")

    def fail(self) -> None:
        """Wake those that wait. In any thread."""
        with self._folded:
            self._failed = True
            self._folded.notify_all()

    def fold(self) -> None:
        # In this order: the rows are counted first.
        target, rows = self.durable_seq, self._durable_rows
        if self.folded_seq == target:
            return
        self._cursor.begin()
        self._cursor.execute(sql.FOLD_POINTS, [self.folded_seq, target])
        self._cursor.execute(sql.FOLDED_POINTS, [target])
        self._commit()
        self._folded_rows = rows
        with self._folded:
            self.folded_seq = target
            self._folded.notify_all()

    def expire(self) -> None:
        """Remove the runs that were deleted long ago; `remove_orphans` removes the rest of them."""
        before = self._now_ms() - DELETED_KEPT_MS
        self._cursor.begin()
        [(removed,)] = self._cursor.execute(sql.REMOVE_RUNS, [before]).fetchall()
        self._commit()
        self._has_orphans = self._has_orphans or removed > 0

    def remove_orphans(self) -> None:
        """Remove a portion of what removed runs left behind."""
        if not self._has_orphans:
            return
        found = self._cursor.execute(sql.ORPHANED_SERIES, [REMOVED_SERIES]).fetchall()
        self._cursor.begin()
        if found:
            ids, points = list[int](), 0
            for series, number in found:
                ids.append(series)
                points += number
                if points >= REMOVED_POINTS:
                    break
            self._cursor.execute(sql.REMOVE_POINTS, [ids])
            self._cursor.execute(sql.REMOVE_SERIES, [ids])
        else:
            for statement in sql.REMOVE_ORPHANS:
                self._cursor.execute(statement)
            self._has_orphans = False
        self._commit()
