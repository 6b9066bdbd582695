"""The writer thread: one commit for everything that waits."""

import asyncio
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import duckdb
import msgspec

from fetchml.adapters.duckdb import sql, tracking_sql
from fetchml.adapters.duckdb.points_fold import PointsFold
from fetchml.adapters.duckdb.tracking_sql import columns
from fetchml.core.audit import AuditEntry
from fetchml.core.model import Change, Task
from fetchml.core.requests.text import is_valid
from fetchml.ports.store import Document
from fetchml.ports.tracking_store import TrackingWrite
from fetchml.system import failpoints

COMMIT_ROWS = 4_096
COMMIT_CHARACTERS = 16 << 20
"""Maximum of one commit: DuckDB holds all of it in memory."""

ANNOUNCED_AT_ONCE = 500
"""Changes of one commit that the listeners get in one turn of the event loop."""

CROWD = 8
ENOUGH = 32
HOLD_SECONDS = 0.015
"""After a commit for more than CROWD submits the next one waits until as many calls wait again:
they are on their way through the event loop, and a commit of 10 rows costs a core nearly as much as
one of ENOUGH. Any other change ends this wait: submits do not delay a task that starts or ends.
Calls that log to runs count only among those that wait."""
FOLLOWS_SECONDS = 0.004
"""Time for which a commit waits for announced changes. A second commit would take as long."""
_OWN_FAULTS = (
    ValueError,  # also a UnicodeError
    TypeError,
    OverflowError,
    duckdb.DataError,
    duckdb.IntegrityError,
    duckdb.NotSupportedError,
    duckdb.ProgrammingError,
)
"""Errors of one statement or its values. All others concern the disk, the memory or DuckDB itself,
and are final."""
_MAX_BIGINT = (1 << 63) - 1

_encode = msgspec.json.Encoder().encode


class Unstorable(ValueError):
    """A value that the database can't hold. Nothing was written."""


class _Append(msgspec.Struct, frozen=True):
    changes: Sequence[Change]
    rows: list[tuple[int, int, str, str]]
    """Journal rows: seq, at, task id, data."""
    characters: int
    """Of the rows' data."""
    future: asyncio.Future[None]
    followed: bool
    documents: Sequence[Document]
    may_wait: bool
    """Whether it is a submit."""


class _Execute(msgspec.Struct, frozen=True):
    statement: str
    parameters: Sequence[Any]
    future: asyncio.Future[None]
    may_wait: ClassVar[bool] = False


class _Audit(msgspec.Struct, frozen=True):
    row: tuple[str | int | None, ...]
    future: asyncio.Future[None]
    may_wait: ClassVar[bool] = False


class _Track(msgspec.Struct, frozen=True):
    write: TrackingWrite
    future: asyncio.Future[None]
    may_wait: ClassVar[bool] = True


class _Failed(NamedTuple):
    future: asyncio.Future[None]
    error: Exception


class _Appenders(NamedTuple):
    journal: duckdb.Appender
    audit: duckdb.Appender
    points: duckdb.Appender


_Item = _Append | _Execute | _Audit | _Track


class _Contents:
    """What a commit writes, by kind."""

    def __init__(self, batch: Sequence[_Item]) -> None:
        self.rows: list[tuple[int, int, str, str]] = []
        self.changes: list[Change] = []
        self.documents: list[Document] = []
        self.executed: list[_Execute] = []
        self.audited: list[tuple[str | int | None, ...]] = []
        self.tracked: list[TrackingWrite] = []
        self.futures: list[asyncio.Future[None]] = []
        """Of all but `executed`, which may fail one by one."""
        for item in batch:
            if isinstance(item, _Execute):
                self.executed.append(item)
                continue
            self.futures.append(item.future)
            if isinstance(item, _Append):
                self.rows.extend(item.rows)
                self.changes.extend(item.changes)
                self.documents.extend(item.documents)
            elif isinstance(item, _Track):
                self.tracked.append(item.write)
            else:
                self.audited.append(item.row)
        # Points alone are one append, as changes alone are.
        self.has_runs = any(
            self.changes or w.runs or w.params or w.tags or w.removed_tags or w.series
            for w in self.tracked
        )


class JournalWriter:
    """Commits calls in their order, all that wait at once, as far as memory allows.

    A commit takes about a millisecond whatever its size, and under load the next one fills up while
    it runs. `on_commit(seq, sizes)` is called in the writer's thread, the `listeners` in the event
    loop, and `on_failure` in the writer's thread, which ends then.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        loop: asyncio.AbstractEventLoop,
        *,
        commits: threading.Lock,
        on_commit: Callable[[int, Sequence[int]], None],
        points: PointsFold,
        listeners: Sequence[Callable[[Sequence[Change]], None]],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._commits = commits
        self._on_commit = on_commit
        self._fold = points
        self._listeners = listeners
        self._on_failure = on_failure
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._enough = sys.maxsize
        """Number of waiting calls that ends a wait for more. So does any call that may not wait."""
        self._enough_came = threading.Event()
        self._pressing = 0
        """Number of calls so far that may not wait; only the event loop changes it."""
        self._pressing_taken = 0
        """Those that were taken up; only the writer's thread changes it."""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def append(
        self,
        changes: Sequence[Change],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        """In the event loop. What can't be encoded raises here and harms nothing else."""
        for document in documents:
            _require_storable((document.kind, document.id, document.data))
        data = encoded
        if len(encoded) < len(changes):
            data = [*encoded, *[_encode(each.task).decode() for each in changes[len(encoded) :]]]
        rows = [
            (change.seq, change.at, change.task.id, text)
            for change, text in zip(changes, data, strict=True)
        ]
        characters = sum(map(len, data))
        # One future per call: cancelling one waiter must not cancel the others of its commit.
        future = self._loop.create_future()
        may_wait = bool(encoded)
        self._waiting.put(_Append(changes, rows, characters, future, followed, documents, may_wait))
        if not may_wait:
            self._pressing += 1
            self._enough_came.set()
        elif self._waiting.qsize() >= self._enough:
            self._enough_came.set()
        return future

    def execute(self, statement: str, parameters: Sequence[Any]) -> asyncio.Future[None]:
        """Execute a statement on a table that is not folded from the journal.

        In the event loop. Raises Unstorable; any other error of the statement fails this future
        alone.
        """
        _require_storable(parameters)
        future = self._loop.create_future()
        self._waiting.put(_Execute(statement, parameters, future))
        self._pressing += 1
        self._enough_came.set()
        return future

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        """Append an entry in one commit with the changes of the same moment.

        In the event loop. Raises Unstorable: the row is checked here, because the appender takes
        all rows of a commit or none.
        """
        row = msgspec.structs.astuple(entry)
        _require_storable(row)
        future = self._loop.create_future()
        self._waiting.put(_Audit(row, future))
        self._pressing += 1
        self._enough_came.set()
        return future

    def track(self, write: TrackingWrite) -> asyncio.Future[None]:
        """Write runs and points, all of it in one commit with what else waits.

        In the event loop. Raises Unstorable.
        """
        for run in write.runs:
            _require_storable(msgspec.structs.astuple(run))
        for each in (*write.params, *write.tags, *write.removed_tags):
            _require_storable(each)
        for series in write.series:
            _require_storable((series.key,))
        future = self._loop.create_future()
        self._waiting.put(_Track(write, future))
        if self._waiting.qsize() >= self._enough:
            self._enough_came.set()
        return future

    def stop(self) -> None:
        """Block until all calls so far are committed. Not in the event loop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            with (
                self._connection.appender("journal") as journal,
                self._connection.appender("audit") as audit,
                self._connection.appender("points") as points,
            ):
                pressing = self._pressing_taken
                while (batch := self._take()) is not None:
                    self._commit(_Appenders(journal, audit, points), batch)
                    tracked = sum(isinstance(each, _Track) for each in batch)
                    submits = len(batch) - tracked - (self._pressing_taken - pressing)
                    pressing = self._pressing_taken
                    if submits > CROWD:
                        self._wait_for(min(ENOUGH, submits), HOLD_SECONDS)
        except Exception as error:  # noqa: BLE001 - nothing more may be committed
            self._on_failure(error)

    def _wait_for(self, calls: int, seconds: float) -> None:
        """Wait until this many calls wait, or one that may not; at most `seconds`."""
        self._enough_came.clear()
        self._enough = calls
        if self._waiting.qsize() < calls and self._pressing == self._pressing_taken:
            self._enough_came.wait(seconds)
        self._enough = sys.maxsize

    def _take(self) -> list[_Item] | None:
        first = self._waiting.get()
        if first is None:
            return None
        self._pressing_taken += not first.may_wait
        if isinstance(first, _Append) and first.followed:
            self._wait_for(1, FOLLOWS_SECONDS)
        batch: list[_Item] = []
        rows = characters = 0
        item: _Item | None = first
        while item is not None:
            batch.append(item)
            if isinstance(item, _Append):
                rows += len(item.rows)
                characters += item.characters
            elif isinstance(item, _Track):
                rows += len(item.write.points)
            if rows >= COMMIT_ROWS or characters >= COMMIT_CHARACTERS or self._waiting.empty():
                return batch
            item = self._waiting.get()
            self._pressing_taken += item is not None and not item.may_wait
        self._waiting.put(None)
        return batch

    def _commit(self, appenders: _Appenders, batch: list[_Item]) -> None:
        what = _Contents(batch)
        failed: list[_Failed] = []
        points = 0
        changes, documents = what.changes, what.documents
        with self._commits:
            for each in what.executed:
                # Each statement is its own transaction: one that fails leaves nothing behind.
                try:
                    self._connection.execute(each.statement, each.parameters)
                except _OWN_FAULTS as error:
                    failed.append(_Failed(each.future, error))
                else:
                    what.futures.append(each.future)
            together = bool(what.audited or documents or what.has_runs)
            if together:
                self._connection.begin()
            if documents:
                self._put(documents)
                if changes:  # As of a sweep with its tasks.
                    failpoints.reach("documents_put")
            if what.audited:
                appenders.audit.append_rows(what.audited)
                appenders.audit.flush()
            if what.tracked:
                points = self._track(what.tracked, appenders.points)
            if changes:
                appenders.journal.append_rows(what.rows)
                appenders.journal.flush()
            if documents and changes:
                failpoints.reach("tasks_put")
            if together:
                self._connection.commit()
            if documents and changes:
                failpoints.reach("committed")
        if points:
            self._fold.committed(self._fold.durable_seq + 1, points)
        if changes:
            self._on_commit(changes[-1].seq, [len(row[3]) for row in what.rows])
        if len(changes) > ANNOUNCED_AT_ONCE:
            changes = self._announce_most(changes)
        self._loop.call_soon_threadsafe(self._announce, changes, what.futures, failed)

    def _announce_most(self, changes: list[Change]) -> list[Change]:
        """Announce all parts but the last, and return that. Waits until the event loop has done
        so: the next commit is announced after this one."""
        starts = range(0, len(changes), ANNOUNCED_AT_ONCE)
        *parts, last = [changes[at : at + ANNOUNCED_AT_ONCE] for at in starts]
        done = threading.Event()
        # One hand-over for all: each costs this thread and the event loop a switch.
        self._loop.call_soon_threadsafe(self._announce_in_turns, deque(parts), done)
        done.wait()
        return last

    def _announce_in_turns(self, parts: deque[list[Change]], done: threading.Event) -> None:
        """Announce each part in a turn of the event loop; others have theirs in between."""
        part = parts.popleft()
        # Before the announcement: an error of a listener must not stop the writer.
        if parts:
            self._loop.call_soon(self._announce_in_turns, parts, done)
        else:
            self._loop.call_soon(done.set)
        self._announce(part, [], [])

    def _put(self, documents: Sequence[Document]) -> None:
        """Insert, replace and delete, all of a kind in one statement: a statement for each row
        takes a millisecond."""
        newest = {(each.kind, each.id): each.data for each in documents}
        put = [(kind, id_, data) for (kind, id_), data in newest.items() if data is not None]
        if put:
            self._connection.execute(
                sql.PUT_DOCUMENTS, [list(column) for column in zip(*put, strict=True)]
            )
        for kind in {kind for (kind, _), data in newest.items() if data is None}:
            ids = [id_ for (of, id_), data in newest.items() if data is None and of == kind]
            self._connection.execute(sql.DELETE_DOCUMENTS, [kind, ids])

    def _track(self, writes: Sequence[TrackingWrite], appender: duckdb.Appender) -> int:
        """Write runs; of what several writes put, the last counts. Returns the number of points."""
        runs = {run.id: run for each in writes for run in each.runs}
        params = [row for each in writes for row in each.params]
        series = [(new.id, new.run_id, new.key) for each in writes for new in each.series]
        tags = dict[tuple[str, str], str | None]()
        for each in writes:
            tags |= dict.fromkeys(each.removed_tags)
            tags |= {(run_id, key): value for run_id, key, value in each.tags}
        removed = [name for name, value in tags.items() if value is None]
        put = [(*name, value) for name, value in tags.items() if value is not None]
        for statement, rows in (
            (tracking_sql.PUT_RUNS, [msgspec.structs.astuple(run) for run in runs.values()]),
            (tracking_sql.PUT_PARAMS, params),
            (tracking_sql.REMOVE_TAGS, removed),
            (tracking_sql.PUT_TAGS, put),
            (tracking_sql.PUT_SERIES, series),
        ):
            if rows:
                self._connection.execute(statement, columns(rows))
        seq = self._fold.durable_seq + 1
        points = [(seq, *point) for each in writes for point in each.points]
        if points:
            appender.append_rows(points)
            appender.flush()
        return len(points)

    def _announce(
        self, changes: list[Change], futures: list[asyncio.Future[None]], failed: list[_Failed]
    ) -> None:
        if changes:
            for listener in self._listeners:
                listener(changes)
        for future in futures:
            if not future.done():  # a waiter may have been cancelled
                future.set_result(None)
        for future, error in failed:
            if not future.done():
                future.set_exception(error)


def encode_task(task: Task) -> str:
    """Return the data of a task's journal row. Raises UnicodeEncodeError."""
    return _encode(task).decode()


def _require_storable(values: Sequence[Any]) -> None:
    """Raises Unstorable."""
    for value in values:
        if isinstance(value, str):
            if not is_valid(value):
                raise Unstorable(f"{value[:80]!r} is not valid Unicode")
        elif isinstance(value, int):
            if not -_MAX_BIGINT <= value <= _MAX_BIGINT:
                raise Unstorable(f"{value} does not fit into 64 bits")
        elif value is not None and not isinstance(value, bytes):
            raise Unstorable(f"a {type(value).__name__} cannot be stored")
