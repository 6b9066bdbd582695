"""The open database: created, migrated, read, checkpointed and copied."""

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from fetchml.adapters.duckdb import schema, sql
from fetchml.adapters.duckdb.recovery import (
    HEADER_BYTES,
    NO_EXTENSIONS,
    DatabaseFiles,
    connect,
    connect_recovering,
)
from fetchml.files.own_file import require_own_file, sync_folder, write_durably
from fetchml.ports.store import StoreDamaged

log = logging.getLogger(__name__)


class Database:
    """An open database. Threads share it, but each needs its own cursor."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, files: DatabaseFiles) -> None:
        self._connection = connection
        self.files = files
        self._changed = threading.Condition()
        self._reads = 0
        self._slow_reads = 0
        self._checkpoint_due = False
        self._in_checkpoint = False
        self._copies = 0
        self.commits = threading.Lock()
        """Held during each commit: whoever else holds it finds the write-ahead log between two."""

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection for one thread: a shared one returns empty results without an
        error."""
        cursor = self._connection.cursor()
        cursor.execute("USE fetchml")
        return cursor

    @contextmanager
    def reading(self, *, slow: bool = False) -> Iterator[None]:
        """Exclude checkpoints during a read. Don't wait for another thread inside.

        A scan during a checkpoint that drops deleted rows sometimes misses the table's newest rows
        (DuckDB 2.0.1).
        """
        with self._changed:
            self._changed.wait_for(
                lambda: not (self._in_checkpoint or (slow and self._checkpoint_due))
            )
            self._reads += 1
            self._slow_reads += slow
        try:
            yield
        finally:
            with self._changed:
                self._reads -= 1
                self._slow_reads -= slow
                self._changed.notify_all()

    def may_checkpoint(self, *, due: bool) -> bool:
        """Report whether a checkpoint is due, again and again. Returns whether it need not wait for
        a slow read: all others would wait too. While it is due, no slow read begins."""
        with self._changed:
            self._checkpoint_due = due
            self._changed.notify_all()
            return due and self._slow_reads == 0

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file and copy the header. Does nothing while
        the database is being copied."""
        with self._changed:
            if self._copies:
                return
            self._in_checkpoint = True
            self._changed.wait_for(lambda: self._reads == 0)
        try:
            # Forced: it waits for a running commit.
            self._connection.execute("FORCE CHECKPOINT fetchml")
        finally:
            with self._changed:
                self._in_checkpoint = False
                self._changed.notify_all()
        self.keep_private()
        with self.files.database.open("rb") as file:
            write_durably(self.files.header_copy, file.read(HEADER_BYTES))

    def copy(self, folder: Path) -> None:
        """Copy a consistent snapshot into a folder while commits continue. Raises OSError.

        Between checkpoints a commit only lengthens the write-ahead log; everything that the file's
        header refers to stays as it is.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._in_checkpoint)
            self._copies += 1
        try:
            with self.commits:
                wal_bytes = self.files.wal.stat().st_size
            for file in (self.files.database, self.files.header_copy, self.files.wal):
                if file.exists():
                    shutil.copyfile(file, folder / file.name)
            os.truncate(folder / self.files.wal.name, wal_bytes)
        finally:
            with self._changed:
                self._copies -= 1

    def size(self) -> int:
        """Return how many bytes `copy` copies."""
        files = (self.files.database, self.files.header_copy, self.files.wal)
        return sum(file.stat().st_size for file in files if file.exists())

    def keep_private(self) -> None:
        """Restrict the files to their owner. Creates the log, which DuckDB would make public."""
        self.files.database.chmod(0o600)
        fd = os.open(self.files.wal, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(fd, 0o600)
        os.close(fd)

    def close(self) -> None:
        self._connection.close()


def open_database(files: DatabaseFiles, *, memory_limit: str) -> Database:
    """Open or create the database, and recover and migrate it.

    Raises StoreDamaged, and OSError and duckdb.Error for obstacles unrelated to the files' content.
    """
    files.database.parent.mkdir(mode=0o700, exist_ok=True)
    # The folder may be a link of the owner's to another disk; the files may not.
    for file in (files.database, files.wal, files.header_copy):
        require_own_file(file)
    if not files.database.exists():
        if files.wal.exists() or files.header_copy.exists():
            raise StoreDamaged(
                f"{files.database} is missing, but files that belong to it are there: restore it "
                f"from a backup, or move {files.database.parent} away to start empty"
            )
        _create(files, memory_limit)
    database = Database(connect_recovering(files, memory_limit), files)
    try:
        _migrate(database)
        database.keep_private()
    except BaseException:
        database.close()
        raise
    return database


def read_keys(database: Path) -> list[bytes]:
    """Return the records of all API keys of a database that is not open. Changes nothing.

    Raises duckdb.Error.
    """
    with closing(duckdb.connect(config=dict(NO_EXTENSIONS))) as connection:
        quoted = str(database).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS fetchml (READ_ONLY)")
        connection.execute("USE fetchml")
        connection.execute("SET enable_external_access = false")
        return [data.encode() for (data,) in connection.execute(sql.LIST_KEYS).fetchall()]


def _create(files: DatabaseFiles, memory_limit: str) -> None:
    unfinished = files.database.with_name("unfinished.duckdb")
    for left_over in unfinished.parent.glob("unfinished.duckdb*"):
        left_over.unlink()
    with closing(connect(unfinished, files, memory_limit)) as connection:
        _apply_migrations(connection, 0)
        connection.execute("CHECKPOINT fetchml")
    fd = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(fd)
    os.close(fd)
    unfinished.rename(files.database)
    sync_folder(files.database.parent)


def _migrate(database: Database) -> None:
    path = database.files.database
    cursor = database.cursor()
    try:
        rows = cursor.execute(schema.READ_META).fetchall()
    except duckdb.CatalogException:
        rows = []
    if not rows:
        raise StoreDamaged(f"{path} is not a FetchML database: move it away")
    version = int(rows[0][0])
    if version > len(schema.MIGRATIONS):
        raise StoreDamaged(
            f"{path} has schema {version}, of a newer FetchML; this one supports schemas up to "
            f"{len(schema.MIGRATIONS)}: start the newer release. Nothing was changed"
        )
    if version < len(schema.MIGRATIONS):
        _apply_migrations(cursor, version)
        log.info("store migrated", extra={"from": version, "to": len(schema.MIGRATIONS)})


def _apply_migrations(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    connection.begin()
    for migration in schema.MIGRATIONS[version:]:
        connection.execute(migration)
    connection.execute(schema.SET_VERSION, [len(schema.MIGRATIONS)])
    connection.commit()
