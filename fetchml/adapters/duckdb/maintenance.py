"""The maintenance thread: folds and prunes the journal, writes the history of use and checkpoints,
checks the free space.

None of it delays an answer: the work is done in portions that hold up a commit for a few
milliseconds.

Folding moves the latest change of each task from the journal into the table `tasks`, and the latest
point of each metric into `series`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from fetchml.adapters.duckdb import sql
from fetchml.adapters.duckdb.database import Database
from fetchml.adapters.duckdb.points_fold import PointsFold
from fetchml.adapters.duckdb.usage_history import UsageWriter
from fetchml.core import idempotency
from fetchml.core.audit import SECURITY_PART
from fetchml.files.disk_usage import free_bytes

log = logging.getLogger(__name__)

TICK_S = 0.25
FOLD_S = 5.0
"""Longest time until changes are folded if no reader waits for them."""
FOLD_ROWS = 4_000
"""Maximum of one transaction; a backlog of this size is folded immediately."""
FOLD_CHARACTERS = 8 << 20
"""A backlog of this much data is folded immediately."""
SPAN_CHARACTERS = 2 << 20
"""Maximum of data of one transaction, which the database has in memory several times."""
TAIL_ROWS = 50_000
TAIL_CHARACTERS = 64 << 20
"""Commits wait while more than this is not folded, which bounds the wait of a read or a start."""
SIZES_ROWS = 256
"""Journal rows whose sizes are read at once at a start: DuckDB holds all their data for that."""
MAX_GAPS_LOGGED = 100
"""Gaps in the journal's numbers that are named in the log."""
PRUNE_ROWS = 5_000
"""Maximum of one transaction. A busy journal may have ten times as many surplus rows."""
REMOVED_ROWS = 1_000
"""Rows of tasks removed in one transaction (10 ms)."""
IDLE_S = 5.0
IDLE_CHECKPOINT_BYTES = 1 << 20
BUSY_CHECKPOINT_BYTES = 128 << 20
"""A log of this size makes the next start 1 s slower: even a busy store writes a checkpoint."""
EXPIRY_S = 60.0
"""Interval of the removal of entries that are too old or too many."""
SUM_S = 60.0
"""Interval of looking for samples that are old enough to be summed up."""
SUM_AGAIN_S = 1.0
"""After one that found some: an hour of them takes 20 ms."""


class Maintenance:
    """The tables `tasks` and `idempotency` have all changes up to `folded_seq`, which only
    grows."""

    def __init__(
        self,
        database: Database,
        *,
        folded_seq: int,
        journal_rows: int,
        audit_rows: int,
        usage_rows: int,
        keep_ms: int,
        min_free_bytes: int,
        now_ms: Callable[[], int],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._database = database
        self._cursor = database.cursor()
        self._journal_rows = journal_rows
        self._audit_rows = audit_rows
        self._keep_ms = keep_ms
        self._has_old_rows = keep_ms > 0
        self._min_free_bytes = min_free_bytes
        self._now_ms = now_ms
        self._on_failure = on_failure
        self.usage = UsageWriter(self._cursor, self._commit, rows=usage_rows, now_ms=now_ms)
        self._next_sum_at = 0.0
        self.folded_seq = folded_seq
        self.failed = False
        [(first, last)] = self._cursor.execute(sql.SEQ_RANGE).fetchall()
        self.durable_seq = int(last or folded_seq)
        self.pruned_seq = int(first or folded_seq + 1) - 1
        """Changes up to it are no longer in the journal, or about to be removed. Only grows."""
        self._last_commit_at = time.monotonic()
        self._next_expiry_at = 0.0
        self._folded_at = 0.0
        self._stopping = False
        self._wake = threading.Event()
        self._folded = threading.Condition()
        self._sizes: deque[tuple[int, int]] = deque()
        """Number and characters of each change that is not folded, oldest first."""
        self._durable_characters = 0
        self._folded_characters = 0
        self._read_sizes()
        self.has_room = self._check_disk_space()
        self._fold_up_to(self.durable_seq)
        self.points = PointsFold(self._cursor, self._commit, now_ms=now_ms, wake=self._wake.set)
        self._thread = threading.Thread(target=self._run, name="store-upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def committed(self, seq: int, sizes: Sequence[int]) -> None:
        """Record that the journal has grown up to `seq` by data of these sizes, in characters.
        Called in the writer's thread; waits while too much is not folded."""
        self._sizes.extend(zip(range(seq - len(sizes) + 1, seq + 1), sizes, strict=True))
        self._durable_characters += sum(sizes)
        self.durable_seq = seq
        self._last_commit_at = time.monotonic()
        waiting = self._durable_characters - self._folded_characters
        if seq - self.folded_seq >= FOLD_ROWS or waiting >= FOLD_CHARACTERS:
            self._wake.set()
        target = seq if waiting > TAIL_CHARACTERS else seq - TAIL_ROWS
        if self.folded_seq < target:
            self._wait_folded(target)

    def wait_folded(self) -> None:
        """Block until everything durable is folded. Raises RuntimeError after a failure."""
        target = self.durable_seq
        if self.folded_seq < target:
            self._wait_folded(target)

    def _wait_folded(self, target: int) -> None:
        with self._folded:
            self._wake.set()
            self._folded.wait_for(lambda: self.folded_seq >= target or self.failed)
        if self.folded_seq < target:
            raise RuntimeError("the store has failed; the program must end")

    def stop(self) -> None:
        """Block until everything is folded and checkpointed. After the writer, not in the event
        loop."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def fail(self) -> None:
        """End the thread, and wake the readers that wait for it."""
        with self._folded:
            self.failed = True
            self._folded.notify_all()
        self.points.fail()
        self._wake.set()

    def _run(self) -> None:
        try:
            while not self._stopping and not self.failed:
                asked = self._wake.wait(TICK_S)
                self._wake.clear()
                self._turn(asked=asked)
            if not self.failed:
                self.usage.write(has_room=self.has_room)
                self._fold_up_to(self.durable_seq)
                self.points.fold()
                self._checkpoint()
        except Exception as error:  # noqa: BLE001 - readers may miss changes now
            self._on_failure(error)
        finally:
            self._database.may_checkpoint(due=False)

    def _turn(self, *, asked: bool) -> None:
        durable_seq = self.durable_seq
        # Before the fold, which removes the samples of deleted tasks.
        self.usage.write(has_room=self.has_room)
        if asked or time.monotonic() - self._folded_at >= FOLD_S:
            self._fold_up_to(durable_seq)
            self.points.fold()
            self._folded_at = time.monotonic()
        idle = time.monotonic() - self._last_commit_at > IDLE_S
        self._prune(idle)
        wal = self._database.files.wal
        wal_bytes = wal.stat().st_size if wal.exists() else 0
        due = wal_bytes > (IDLE_CHECKPOINT_BYTES if idle else BUSY_CHECKPOINT_BYTES)
        if self._database.may_checkpoint(due=due):
            self._checkpoint()
            self._database.may_checkpoint(due=False)
        self.has_room = self._check_disk_space()

    def _read_sizes(self) -> None:
        """Read the sizes of all changes that are not folded. Only older releases left gaps."""
        expected = self.folded_seq + 1
        missing = list[str]()
        for seq in range(self.folded_seq, self.durable_seq, SIZES_ROWS):
            rows = self._cursor.execute(sql.SIZES, [seq, seq + SIZES_ROWS]).fetchall()
            for row_seq, _ in rows:
                if row_seq > expected and len(missing) < MAX_GAPS_LOGGED:
                    missing.append(_span(expected, row_seq - 1))
                expected = row_seq + 1
            self._sizes.extend(rows)
            self._durable_characters += sum(size for _, size in rows)
        if missing:
            log.warning(
                "the journal lacks changes, which were answered with an error and never written; "
                "they are skipped",
                extra={"numbers": ", ".join(missing)},
            )

    def _take_span(self, target: int) -> int:
        """Return the number of the last change of the next fold, which has at least one."""
        characters = rows = 0
        last = target
        while self._sizes and self._sizes[0][0] <= target:
            seq, size = self._sizes[0]
            if rows == FOLD_ROWS or (rows and characters + size > SPAN_CHARACTERS):
                break
            self._sizes.popleft()
            characters += size
            rows += 1
            last = seq
        self._folded_characters += characters
        return last

    def _fold_up_to(self, target: int) -> None:
        while self.folded_seq < target:
            span = [self.folded_seq, self._take_span(target)]
            self._cursor.begin()
            self._cursor.execute(sql.FOLD_TASKS, span)
            [(keyed, deleted)] = self._cursor.execute(sql.FOLDED_KINDS, span).fetchall()
            if keyed:
                self._cursor.execute(sql.FOLD_IDEMPOTENCY, span)
            if deleted:
                self.usage.forget_deleted(*span)
            self._cursor.execute(sql.FOLDED, span[1:])
            self._commit()
            with self._folded:
                self.folded_seq = span[1]
                self._folded.notify_all()

    def _prune(self, idle: bool) -> None:
        surplus = self.folded_seq - self._journal_rows - self.pruned_seq
        if surplus > (0 if idle else 10 * PRUNE_ROWS):
            self.pruned_seq += min(surplus, PRUNE_ROWS)
            self._cursor.begin()
            self._cursor.execute(sql.PRUNE_JOURNAL, [self.pruned_seq])
            self._commit()
        if time.monotonic() >= self._next_expiry_at:
            self._next_expiry_at = time.monotonic() + EXPIRY_S
            oldest = self._now_ms() - idempotency.KEPT_MS
            self._cursor.begin()
            self._cursor.execute(sql.PRUNE_IDEMPOTENCY, [oldest])
            [(entries,)] = self._cursor.execute(sql.COUNT_AUDIT).fetchall()
            if entries > self._audit_rows:
                security_rows = self._audit_rows // SECURITY_PART
                self._cursor.execute(sql.PRUNE_AUDIT, [entries - self._audit_rows, security_rows])
            self._commit()
            self.usage.prune()
            self.points.expire()
            self._has_old_rows = self._keep_ms > 0
        if time.monotonic() >= self._next_sum_at:
            pause = SUM_AGAIN_S if self.usage.sum_up() else SUM_S
            self._next_sum_at = time.monotonic() + pause
        if self._has_old_rows and idle:
            self._remove_old_rows()
        if idle:
            self.points.remove_orphans()

    def _remove_old_rows(self) -> None:
        """Remove one portion of the rows of old hidden tasks."""
        before = [self._now_ms() - self._keep_ms, REMOVED_ROWS]
        ids = [row for (row,) in self._cursor.execute(sql.OLD_ROWS, before).fetchall()]
        self._has_old_rows = len(ids) == REMOVED_ROWS
        if ids:
            self._cursor.begin()
            self._cursor.execute(sql.COUNT_REMOVED, [ids])
            self._cursor.execute(sql.REMOVE_ROWS, [ids])
            self._commit()

    def _commit(self) -> None:
        with self._database.commits:
            self._cursor.commit()

    def _checkpoint(self) -> None:
        if not self._check_disk_space():
            return  # A checkpoint that runs out of space is fatal; without one nothing is lost.
        began = time.monotonic()
        self._database.checkpoint()
        log.debug("checkpoint", extra={"seconds": time.monotonic() - began})

    def _check_disk_space(self) -> bool:
        return self.has_room_for(0)

    def has_room_for(self, further_bytes: int) -> bool:
        free = free_bytes(self._database.files.database.parent)
        return free >= self._min_free_bytes + further_bytes


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
