"""The database file: made safely, opened after any crash, migrated, its header kept twice.

Power loss can leave the file in three states that DuckDB alone would refuse (all were simulated):
- half made: it is made under a temporary name and renamed when it is complete;
- a write-ahead log whose last write is part data, part zeros: that write was never acknowledged,
  so it is cut off, after a copy of the log was kept;
- a torn header: the 12 KiB at the file's start are copied beside it after each checkpoint, and
  put back if the rest of the header shows that no later checkpoint was completed.
Anything else is StoreDamaged: nothing is changed, and the message says what to do. What keeps a
sound file from being opened (a full disk, too few open files) is no damage, and is raised as it is.
"""

import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from fetchml.adapters.duckdb import sql
from fetchml.adapters.system_errors import advice
from fetchml.files.layout import DATABASE, HEADER_COPY, STORE
from fetchml.files.own_file import require_own_file, sync_folder, write_durably
from fetchml.ports.store import StoreDamaged

log = logging.getLogger(__name__)

HEADER_BLOCK = 4096
HEADER_BYTES = 3 * HEADER_BLOCK
"""DuckDB's main header, then two headers that checkpoints write in turn."""

ROW_GROUP_SIZE = 16_384

_NO_EXTENSIONS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}

WAL_ENTRY_PREFIX = 16
"""Each entry of the write-ahead log begins with its size and checksum, 8 bytes each."""


class DatabaseFiles(NamedTuple):
    """What lies in `<data-dir>/store/`."""

    database: Path
    wal: Path
    header_copy: Path
    temporary: Path

    @classmethod
    def below(cls, data_dir: Path) -> "DatabaseFiles":
        folder = data_dir / STORE
        database = folder / DATABASE
        return cls(
            database=database,
            wal=database.with_name(database.name + ".wal"),
            header_copy=folder / HEADER_COPY,
            temporary=folder / "temporary",
        )


class Database:
    """An open database. Threads share it, never a cursor."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, files: DatabaseFiles) -> None:
        self._connection = connection
        self.files = files
        self._changed = threading.Condition()
        self._reads = 0
        self._in_checkpoint = False
        self._copies = 0
        self.commits = threading.Lock()
        """Held by each commit: who else holds it finds the write-ahead log between two."""

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one thread: shared ones answer empty results without an error."""
        cursor = self._connection.cursor()
        cursor.execute("USE fetchml")
        return cursor

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around every read: a scan beside a checkpoint that drops deleted rows misses the newest
        rows of the table now and then (DuckDB 2.0.1). No other thread may be waited for inside."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_checkpoint)
            self._reads += 1
        try:
            yield
        finally:
            with self._changed:
                self._reads -= 1
                self._changed.notify_all()

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file and copy the header; nothing happens
        while it is copied."""
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
        """Copy it, as it is at one moment, into this folder, while all goes on. Raises OSError.

        Between checkpoints a commit only lengthens the write-ahead log, and what the file's
        header names stays as it is.
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
        """Bytes of what `copy` copies."""
        files = (self.files.database, self.files.header_copy, self.files.wal)
        return sum(file.stat().st_size for file in files if file.exists())

    def keep_private(self) -> None:
        """Make the files their owner's; the log is made here before DuckDB makes it public."""
        self.files.database.chmod(0o600)
        fd = os.open(self.files.wal, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        os.fchmod(fd, 0o600)
        os.close(fd)

    def close(self) -> None:
        self._connection.close()


def open_database(files: DatabaseFiles, *, memory_limit: str) -> Database:
    """Open or make the database, recovered and migrated.

    Raises StoreDamaged; OSError and duckdb.Error for what has nothing to do with the files.
    """
    files.database.parent.mkdir(mode=0o700, exist_ok=True)
    # Their folder may be a link of the owner's, to another disk.
    for file in (files.database, files.wal, files.header_copy):
        require_own_file(file)
    if not files.database.exists():
        if files.wal.exists() or files.header_copy.exists():
            raise StoreDamaged(
                f"{files.database} is missing, but files that belong to it are there: put it back "
                f"from a backup, or move {files.database.parent} away to start empty"
            )
        _create(files, memory_limit)
    database = Database(_connect_recovering(files, memory_limit), files)
    try:
        _migrate(database)
        database.keep_private()
    except BaseException:
        database.close()
        raise
    return database


def read_keys(database: Path) -> list[bytes]:
    """The records of all API keys of a database that nobody has open, which stays as it is.

    Raises duckdb.Error.
    """
    with closing(duckdb.connect(config=dict(_NO_EXTENSIONS))) as connection:
        quoted = str(database).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS fetchml (READ_ONLY)")
        connection.execute("USE fetchml")
        connection.execute("SET enable_external_access = false")
        return [data.encode() for (data,) in connection.execute(sql.LIST_KEYS).fetchall()]


def _connect(path: Path, files: DatabaseFiles, memory_limit: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "memory_limit": memory_limit,
            # A statement then runs in the thread that asked: small ones are quicker so, and no
            # scan takes all cores from the event loop.
            "threads": 1,
            "temp_directory": str(files.temporary),
            **_NO_EXTENSIONS,
            # Checkpoints stall commits: the upkeep thread picks the moment.
            "checkpoint_threshold": "1TB",
        },
    )
    try:
        # Attached rather than connected to, since only so can the size of row groups be set: the
        # newest page is found by scanning one of them.
        quoted = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS fetchml (ROW_GROUP_SIZE {ROW_GROUP_SIZE})")
        connection.execute("USE fetchml")
        # It unpacks 2,048 rows to read one: of long rows more than the memory limit. (As part of
        # the `config` above the setting has no effect.)
        connection.execute("SET disabled_compression_methods = 'zstd'")
        connection.execute("SET enable_external_access = false")
        # Closing writes nothing: a refused database stays as found, the header's copy in step.
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(files: DatabaseFiles, memory_limit: str) -> None:
    unfinished = files.database.with_name("unfinished.duckdb")
    for left_over in unfinished.parent.glob("unfinished.duckdb*"):
        left_over.unlink()
    with closing(_connect(unfinished, files, memory_limit)) as connection:
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
        rows = cursor.execute(sql.READ_META).fetchall()
    except duckdb.CatalogException:
        rows = []
    if not rows:
        raise StoreDamaged(f"{path} is a database, but not one of FetchML's: move it away")
    version = int(rows[0][0])
    if version > len(sql.MIGRATIONS):
        raise StoreDamaged(
            f"{path} has schema {version}, made by a newer FetchML; this one knows schemas up to "
            f"{len(sql.MIGRATIONS)}: start the newer release. Nothing was changed"
        )
    if version < len(sql.MIGRATIONS):
        _apply_migrations(cursor, version)
        log.info("store migrated", extra={"from": version, "to": len(sql.MIGRATIONS)})


def _apply_migrations(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    connection.begin()
    for migration in sql.MIGRATIONS[version:]:
        connection.execute(migration)
    connection.execute(sql.SET_VERSION, [len(sql.MIGRATIONS)])
    connection.commit()


def _connect_recovering(files: DatabaseFiles, memory_limit: str) -> duckdb.DuckDBPyConnection:
    seen = set[str]()
    while True:
        try:
            return _connect(files.database, files, memory_limit)
        except duckdb.Error as error:
            if advice(error) is not None:
                raise
            damage = str(error)
        if damage in seen:  # a repair that did not help
            raise _beyond_repair(files.database, damage)
        seen.add(damage)
        if "replaying WAL" in damage:
            _cut_torn_wal(files.wal, damage)
        else:
            _put_header_back(files, damage)


def _beyond_repair(path: Path, damage: str) -> StoreDamaged:
    return StoreDamaged(
        f"{path} can't be opened: {damage}. Put the folder {path.parent} back from a backup, or "
        "move it away to start empty"
    )


def _cut_torn_wal(wal: Path, damage: str) -> None:
    named = re.search(r"entry at byte position (\d+)", damage)
    if named is None:
        raise _beyond_repair(wal, damage)
    start = int(named[1]) - WAL_ENTRY_PREFIX  # what is named is where its data begin
    with wal.open("rb") as file:
        file.seek(start)
        rest = file.read()
    entry_bytes = WAL_ENTRY_PREFIX + int.from_bytes(rest[:8], "little")
    if rest[entry_bytes:].rstrip(b"\0"):
        # Whole entries follow, perhaps acknowledged ones: not for a program to throw away.
        raise StoreDamaged(
            f"{wal} is damaged at byte {start}, with data behind it: {damage}. Put the folder "
            f"{wal.parent} back from a backup; or keep a copy of {wal.name} and go on without what "
            f"was written after that byte: truncate -s {start} {wal}. Nothing was changed"
        )
    kept = wal.with_name(f"{wal.name}.torn-{wal.stat().st_mtime_ns}")
    shutil.copyfile(wal, kept)
    kept.chmod(0o600)
    with wal.open("r+b") as file:
        file.truncate(start)
        os.fsync(file.fileno())
    sync_folder(wal.parent)
    log.warning(
        "the write-ahead log ended in a torn write (power loss?), which was cut off; it was "
        "never acknowledged",
        extra={"byte": start, "kept": str(kept)},
    )


def _put_header_back(files: DatabaseFiles, damage: str) -> None:
    """Undo a torn header from the copy made at the last checkpoint.

    A checkpoint writes the older of the two headers; until that is complete, the other one and
    the write-ahead log are the truth. So the copy is right if all but one block of the header
    are still as they were copied. Had a later checkpoint been completed, its header would differ
    as well, and the damage is left to people.
    """
    with files.database.open("rb") as file:
        found = file.read(HEADER_BYTES)
    copy = files.header_copy.read_bytes() if files.header_copy.exists() else b""
    blocks = range(0, HEADER_BYTES, HEADER_BLOCK)
    damaged = [
        start
        for start in blocks
        if found[start : start + HEADER_BLOCK] != copy[start : start + HEADER_BLOCK]
    ]
    if len(copy) != HEADER_BYTES or len(damaged) != 1:
        raise _beyond_repair(files.database, damage)
    kept = files.database.with_name(f"header.torn-{files.database.stat().st_mtime_ns}")
    write_durably(kept, found)
    with files.database.open("r+b") as file:
        file.write(copy)
        file.flush()
        os.fsync(file.fileno())
    log.warning(
        "the database's header was torn (power loss?) and was put back from its copy",
        extra={"damage": damage, "kept": str(kept)},
    )
