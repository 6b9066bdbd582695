"""The store on DuckDB: `ports.store.Store` made of a writer, a maintenance thread, and readers."""

import asyncio
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec

from fetchml.adapters.duckdb import schema, sql
from fetchml.adapters.duckdb.database import Database, open_database
from fetchml.adapters.duckdb.history import HistoryTables
from fetchml.adapters.duckdb.journal_writer import JournalWriter, encode_task
from fetchml.adapters.duckdb.maintenance import Maintenance
from fetchml.adapters.duckdb.readers import Readers, snapshot
from fetchml.adapters.duckdb.recovery import DatabaseFiles
from fetchml.adapters.duckdb.task_rows import AT_ONCE, decode_task, page_by, task_by, tasks_by
from fetchml.adapters.duckdb.tracking import TrackingTables
from fetchml.adapters.duckdb.usage_history import UsageTables
from fetchml.adapters.system_errors import advice
from fetchml.core import idempotency
from fetchml.core.audit import Action, AuditEntry
from fetchml.core.model import ENDED, Change, Kept, Key, Status, Task
from fetchml.core.sweeps.progress import Failures
from fetchml.files.data_dir import DataDirLock, lock_data_dir
from fetchml.ports.store import (
    AuditQuery,
    Document,
    IdempotentCreate,
    OldTasks,
    OldTasksTotal,
    StoredState,
    SweepTask,
    TaskPage,
    TaskQuery,
)

log = logging.getLogger(__name__)

_decode_key = msgspec.json.Decoder(Key).decode

MEMORY_BYTES = 1 << 30
"""DuckDB's memory limit."""


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class StoreUnusable(Exception):
    """The store can't be opened or written now, and is not damaged. The message has the reason and
    the remedy."""


class DuckDBStore:
    """Implements `ports.store.Store`. `open` raises DataDirBusy and StoreUnusable too; a later
    failure is reported as StoreUnusable.

    - `journal_rows`: how many changes `changes_since` can go back.
    - `audit_rows`: how many audit entries are kept.
    - `usage_rows`: how many samples of use are kept.
    - `keep_ms`: how long after their end the rows of deleted tasks are kept; 0 keeps them for ever.
    - `min_free_bytes`: `has_room` is false if the disk has less.
    - `memory_limit`: of DuckDB, such as `1GB`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        time_zone: ZoneInfo,
        min_free_bytes: int,
        journal_rows: int = 200_000,
        audit_rows: int = 100_000,
        usage_rows: int = 3_600_000,
        keep_ms: int = 0,
        memory_limit: str = f"{MEMORY_BYTES >> 20}MiB",
        now_ms: Callable[[], int] = _clock_ms,
    ) -> None:
        self._data_dir = data_dir
        self._files = DatabaseFiles.below(data_dir)
        self._time_zone = time_zone
        self._min_free_bytes = min_free_bytes
        self._journal_rows = journal_rows
        self._audit_rows = audit_rows
        self._usage_rows = usage_rows
        self._keep_ms = keep_ms
        self._memory_limit = memory_limit
        self._now_ms = now_ms
        self._failure_lock = threading.Lock()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop
        self._lock: DataDirLock
        self._database: Database
        self._maintenance: Maintenance
        self._readers: Readers
        self.usage: UsageTables
        self.tracking: TrackingTables
        self.history: HistoryTables
        self._writer: JournalWriter
        self._on_fatal: Callable[[Exception], None]
        self._listeners: list[Callable[[Sequence[Change]], None]] = []

    async def open(
        self,
        *,
        recent_limit: int,
        recent_bytes: int = 1 << 40,
        on_fatal: Callable[[Exception], None],
    ) -> StoredState:
        self._loop = asyncio.get_running_loop()
        self._on_fatal = on_fatal
        try:
            restored = await asyncio.to_thread(self._open, recent_limit, recent_bytes)
        except (duckdb.Error, OSError) as error:
            raise self._unusable("open", error) from error
        self._maintenance.start()
        self._writer = JournalWriter(
            self._database.cursor(),
            self._loop,
            commits=self._database.commits,
            on_commit=self._maintenance.committed,
            points=self._maintenance.points,
            listeners=self._listeners,
            on_failure=self._fail,
        )
        self.tracking = TrackingTables(self._writer, self._readers, self._maintenance.points)
        self.history = HistoryTables(
            self._readers, self._maintenance.points, self._files.exports, self._now_ms
        )
        return restored

    def subscribe(self, listener: Callable[[Sequence[Change]], None]) -> None:
        self._listeners.append(listener)

    encode = staticmethod(encode_task)

    def append(
        self,
        changes: Sequence[Change],
        *,
        followed: bool = False,
        documents: Sequence[Document] = (),
        encoded: Sequence[str] = (),
    ) -> asyncio.Future[None]:
        return self._writer.append(changes, followed=followed, documents=documents, encoded=encoded)

    async def get(self, task_id: str, owner: str | None = None) -> Task | None:
        def read(cursor: duckdb.DuckDBPyConnection) -> Task | None:
            folded = self._maintenance.folded_seq
            has_tail = folded < self._maintenance.durable_seq
            return task_by(cursor, task_id, owner, folded if has_tail else None)

        return await self._readers.read(read)

    async def list_tasks(self, query: TaskQuery) -> TaskPage:
        def read(cursor: duckdb.DuckDBPyConnection) -> TaskPage:
            with snapshot(cursor):
                [(total,)] = cursor.execute(*sql.count_tasks(query)).fetchall()
                if query.limit == 0 or query.offset >= total:
                    return TaskPage([], total)
                tasks, cut = page_by(cursor, query)
            return TaskPage(tasks, total, cut)

        return await self._readers.read(read, folded=True, slow=query.is_search)

    async def sweep_tasks(self, sweep_id: str) -> list[SweepTask]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[SweepTask]:
            rows = cursor.execute(sql.SWEEP_TASKS, [sweep_id]).fetchall()
            return [SweepTask(index, each, Status(how), files) for index, each, how, files in rows]

        return await self._readers.read(read, folded=True)

    async def outcomes(self, task_ids: Sequence[str]) -> dict[str, Status]:
        def read(cursor: duckdb.DuckDBPyConnection) -> dict[str, Status]:
            rows = cursor.execute(sql.OUTCOMES, [list(task_ids)]).fetchall()
            return {task_id: Status(status) for task_id, status in rows}

        return await self._readers.read(read, folded=True)

    async def changes_since(self, seq: int, limit: int) -> list[Change] | None:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[Change] | None:
            rows = cursor.execute(sql.CHANGES_SINCE, [seq, min(limit, AT_ONCE)]).fetchall()
            # If nothing above `seq` was pruned, the missing numbers were never used: older releases
            # could leave such a gap.
            if rows and rows[0][0] != seq + 1 and self._maintenance.pruned_seq > seq:
                return None
            return [Change(number, at, decode_task(data)) for number, at, data in rows]

        return await self._readers.read(read)

    async def ended_on(self, day: str) -> tuple[int, int]:
        first = date.fromisoformat(day)
        bounds = [self._midnight_ms(first), self._midnight_ms(first + timedelta(days=1))]

        def read(cursor: duckdb.DuckDBPyConnection) -> tuple[int, int]:
            [(completed, failed)] = cursor.execute(sql.ENDED_BETWEEN, bounds).fetchall()
            return completed, failed

        return await self._readers.read(read, folded=True)

    async def kept_by_user(self) -> dict[str, Kept]:
        def read(cursor: duckdb.DuckDBPyConnection) -> dict[str, Kept]:
            rows = cursor.execute(sql.KEPT_BY_USER).fetchall()
            return {user: Kept(*(int(number or 0) for number in sums)) for user, *sums in rows}

        return await self._readers.read(read, folded=True)

    async def old_tasks(self, query: OldTasks) -> list[Task]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[Task]:
            with snapshot(cursor):
                return tasks_by(cursor, *sql.old_tasks(query))

        return await self._readers.read(read, folded=True)

    async def count_old_tasks(self, query: OldTasks) -> OldTasksTotal:
        def read(cursor: duckdb.DuckDBPyConnection) -> OldTasksTotal:
            [(tasks, *sums)] = cursor.execute(*sql.count_old_tasks(query)).fetchall()
            return OldTasksTotal(tasks, Kept(*map(int, sums)))

        return await self._readers.read(read, folded=True)

    async def find_idempotent(self, user: str, keys: Sequence[str]) -> dict[str, IdempotentCreate]:
        def read(cursor: duckdb.DuckDBPyConnection) -> dict[str, IdempotentCreate]:
            tail = [self._maintenance.folded_seq, user, keys]
            found_in_tail = cursor.execute(sql.FIND_IDEMPOTENT_IN_TAIL, tail).fetchall()
            folded = cursor.execute(sql.FIND_IDEMPOTENT, [user, keys]).fetchall()
            oldest = self._now_ms() - idempotency.KEPT_MS
            creates = dict[str, IdempotentCreate]()
            for key, *create in found_in_tail + folded:
                each = IdempotentCreate(*create)
                # The tail may have a change of an old task with this key: the newest create wins.
                if each.at >= oldest and (key not in creates or each.at > creates[key].at):
                    creates[key] = each
            return creates

        return await self._readers.read(read)

    async def put_key(self, key: Key) -> None:
        await self._writer.execute(sql.PUT_KEY, [key.id, msgspec.json.encode(key).decode()])

    async def list_keys(self) -> list[Key]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[Key]:
            return [_decode_key(data) for (data,) in cursor.execute(sql.LIST_KEYS).fetchall()]

        return await self._readers.read(read)

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        await self._writer.execute(sql.PUT_DOCUMENT, [kind, document_id, data])

    async def delete_document(self, kind: str, document_id: str) -> None:
        await self._writer.execute(sql.DELETE_DOCUMENT, [kind, document_id])

    async def list_documents(self, kind: str) -> list[bytes]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[bytes]:
            return [data for (data,) in cursor.execute(sql.LIST_DOCUMENTS, [kind]).fetchall()]

        return await self._readers.read(read)

    async def get_document(self, kind: str, document_id: str) -> bytes | None:
        def read(cursor: duckdb.DuckDBPyConnection) -> bytes | None:
            # Not `fetchone`, which leaves the result open: the child of a fork would close it.
            rows = cursor.execute(sql.GET_DOCUMENT, [kind, document_id]).fetchall()
            return rows[0][0] if rows else None

        return await self._readers.read(read)

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        return self._writer.append_audit(entry)

    async def list_audit(self, query: AuditQuery) -> list[AuditEntry]:
        def read(cursor: duckdb.DuckDBPyConnection) -> list[AuditEntry]:
            self._maintenance.wait_folded()
            with snapshot(cursor):
                appended = cursor.execute(*sql.audit_entries(query)).fetchall()
                created = cursor.execute(*sql.tasks_created(query)).fetchall()
            entries = [
                AuditEntry(entry_id, at, Action(action), *rest)
                for entry_id, at, action, *rest in appended
            ]
            entries += [
                AuditEntry(
                    id=task_id,
                    at=at,
                    action=Action.TASK_CREATE,
                    address=address or "",
                    target=task_id,
                    user=user,
                    key_id=key_id,
                )
                for task_id, at, user, key_id, address in created
            ]
            entries.sort(key=lambda entry: entry.id, reverse=True)
            return entries[: query.limit]

        return await self._readers.read(read)

    def has_room(self) -> bool:
        return self._maintenance.has_room

    async def copy(self, folder: Path) -> None:
        await asyncio.to_thread(self._copy, folder)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _open(self, recent_limit: int, recent_bytes: int) -> StoredState:
        self._lock = lock_data_dir(self._data_dir)
        try:
            self._database = open_database(self._files, memory_limit=self._memory_limit)
        except BaseException:
            self._lock.release()
            raise
        try:
            return self._start(recent_limit, recent_bytes)
        except BaseException:
            self._database.close()
            self._lock.release()
            raise

    def _start(self, recent_limit: int, recent_bytes: int) -> StoredState:
        cursor = self._database.cursor()
        [(_, instance_id, folded_seq)] = cursor.execute(schema.READ_META).fetchall()
        self._maintenance = Maintenance(
            self._database,
            folded_seq=folded_seq,
            journal_rows=self._journal_rows,
            audit_rows=self._audit_rows,
            usage_rows=self._usage_rows,
            keep_ms=self._keep_ms,
            min_free_bytes=self._min_free_bytes,
            now_ms=self._now_ms,
            on_failure=self._fail,
        )
        self._readers = Readers(self._database, self._maintenance.wait_folded)
        self.usage = UsageTables(self._maintenance.usage, self._readers)
        return self._restore(cursor, instance_id, recent_limit, recent_bytes)

    def _restore(
        self,
        cursor: duckdb.DuckDBPyConnection,
        instance_id: str,
        recent_limit: int,
        recent_bytes: int,
    ) -> StoredState:
        def rows(statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
            return cursor.execute(statement, parameters).fetchall()

        def newest(status: Status) -> list[Task]:
            query = TaskQuery(states=(status,), limit=recent_limit)
            return tasks_by(cursor, *sql.page_of_tasks(query), most_bytes=recent_bytes)

        [(last_created_at,)] = rows(sql.LAST_CREATED_AT)
        return StoredState(
            instance_id=instance_id,
            last_seq=self._maintenance.durable_seq,
            last_created_at=last_created_at,
            live=tasks_by(cursor, sql.LIVE_ROWS),
            recent={status: newest(status) for status in ENDED},
            counts={(user, Status(status)): n for user, status, n in rows(sql.COUNTS)},
            sweep_counts={
                (sweep, Status(status)): n for sweep, status, n in rows(sql.SWEEP_COUNTS)
            },
            sweep_failures={each: Failures(*rest) for each, *rest in rows(sql.SWEEP_FAILURES)},
            experiment_counts={
                (experiment, user, Status(status)): n
                for experiment, user, status, n in rows(sql.EXPERIMENT_COUNTS)
            },
        )

    def _copy(self, folder: Path) -> None:
        if not self._maintenance.has_room_for(self._database.size()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._database.copy(folder)

    def _close(self) -> None:
        self._writer.stop()
        self._maintenance.stop()
        self._readers.close()
        self._database.close()
        self._lock.release()

    def _fail(self, error: Exception) -> None:
        """Report the first failure, in any thread; all others follow from it."""
        with self._failure_lock:
            if self._failure is not None:
                return
            self._failure = error
        self._maintenance.fail()
        unusable = self._unusable("use", error)
        unusable.__cause__ = error
        self._loop.call_soon_threadsafe(self._on_fatal, unusable)

    def _unusable(self, verb: str, error: Exception) -> StoreUnusable:
        folder = self._files.database.parent
        then = advice(error)
        what = f"cannot {verb} the store in {folder}: {error}"
        return StoreUnusable(
            what if then is None else f"{what}. Nothing was lost: {then}, and try again"
        )

    def _midnight_ms(self, day: date) -> int:
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._time_zone)
        return int(midnight.timestamp()) * 1000
