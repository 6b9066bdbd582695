"""Opens the database file, after any crash. Its header is kept twice.

Power loss can leave the file in three states that DuckDB alone would refuse (all were simulated):
- half created: the file is created under a temporary name and renamed when it is complete;
- a write-ahead log whose last write is part data, part zeros: that write was never acknowledged, so
  it is cut off, after a copy of the log was kept;
- a torn header: the 12 KiB at the file's start are copied beside it after each checkpoint, and put
  back if the rest of the header shows that no later checkpoint was completed.
Anything else is StoreDamaged: nothing is changed, and the message has the remedy. An obstacle that
does not concern the file (a full disk, too few open files) is raised as it is.
"""

import logging
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb

from fetchml.adapters.system_errors import advice
from fetchml.files.layout import DATABASE, HEADER_COPY, HISTORY, STORE
from fetchml.files.own_file import sync_folder, write_durably
from fetchml.ports.store import StoreDamaged

log = logging.getLogger(__name__)

HEADER_BLOCK = 4096
HEADER_BYTES = 3 * HEADER_BLOCK
"""DuckDB's main header, then two headers that checkpoints write in turn."""
ROW_GROUP_SIZE = 16_384
NO_EXTENSIONS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
WAL_ENTRY_PREFIX = 16
"""Each entry of the write-ahead log begins with its size and checksum, 8 bytes each."""


class DatabaseFiles(NamedTuple):
    """The files in `<data-dir>/store/`."""

    database: Path
    wal: Path
    header_copy: Path
    temporary: Path
    exports: Path
    """The only folder that statements may write to."""

    @classmethod
    def below(cls, data_dir: Path) -> "DatabaseFiles":
        folder = data_dir / STORE
        database = folder / DATABASE
        return cls(
            database=database,
            wal=database.with_name(database.name + ".wal"),
            header_copy=folder / HEADER_COPY,
            temporary=folder / "temporary",
            exports=(data_dir / HISTORY).absolute(),
        )


def connect(path: Path, files: DatabaseFiles, memory_limit: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "memory_limit": memory_limit,
            # A statement runs in the calling thread: small ones are faster, and no scan takes all
            # cores from the event loop.
            "threads": 1,
            "temp_directory": str(files.temporary),
            **NO_EXTENSIONS,
            # Checkpoints stall commits: the maintenance thread chooses the moment.
            "checkpoint_threshold": "1TB",
        },
    )
    try:
        # Attached, not connected to, because only then can the size of row groups be set: the
        # newest page is found by scanning one of them.
        quoted = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS fetchml (ROW_GROUP_SIZE {ROW_GROUP_SIZE})")
        connection.execute("USE fetchml")
        # It decompresses 2,048 rows to read one, which for long rows exceeds the memory limit. (In
        # the `config` above the setting has no effect.)
        connection.execute("SET disabled_compression_methods = 'zstd'")
        exports = str(files.exports).replace("'", "''")
        connection.execute(f"SET allowed_directories = ['{exports}']")
        connection.execute("SET enable_external_access = false")
        # Closing writes nothing: a refused database stays as found, and the header's copy valid.
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_recovering(files: DatabaseFiles, memory_limit: str) -> duckdb.DuckDBPyConnection:
    seen = set[str]()
    while True:
        try:
            return connect(files.database, files, memory_limit)
        except duckdb.Error as error:
            if advice(error) is not None:
                raise
            damage = str(error)
        if damage in seen:  # The repair did not help.
            raise _beyond_repair(files.database, damage)
        seen.add(damage)
        if "replaying WAL" in damage:
            _cut_torn_wal(files.wal, damage)
        else:
            _put_header_back(files, damage)


def _beyond_repair(path: Path, damage: str) -> StoreDamaged:
    return StoreDamaged(
        f"cannot open {path}: {damage}. Restore the folder {path.parent} from a backup, or "
        "move it away to start empty"
    )


def _cut_torn_wal(wal: Path, damage: str) -> None:
    named = re.search(r"entry at byte position (\d+)", damage)
    if named is None:
        raise _beyond_repair(wal, damage)
    start = int(named[1]) - WAL_ENTRY_PREFIX  # The named position is that of its data.
    with wal.open("rb") as file:
        file.seek(start)
        rest = file.read()
    entry_bytes = WAL_ENTRY_PREFIX + int.from_bytes(rest[:8], "little")
    if rest[entry_bytes:].rstrip(b"\0"):
        # Whole entries follow, perhaps acknowledged ones: a person has to decide.
        raise StoreDamaged(
            f"{wal} is damaged at byte {start}, followed by data: {damage}. Restore the folder "
            f"{wal.parent} from a backup; or keep a copy of {wal.name} and discard everything "
            f"written after that byte: truncate -s {start} {wal}. Nothing was changed"
        )
    copy = wal.with_name(f"{wal.name}.torn-{wal.stat().st_mtime_ns}")
    shutil.copyfile(wal, copy)
    copy.chmod(0o600)
    with wal.open("r+b") as file:
        file.truncate(start)
        os.fsync(file.fileno())
    sync_folder(wal.parent)
    log.warning(
        "the write-ahead log ended in a torn write (power loss?), which was cut off; it was "
        "never acknowledged",
        extra={"byte": start, "kept": str(copy)},
    )


def _put_header_back(files: DatabaseFiles, damage: str) -> None:
    """Undo a torn header from the copy made at the last checkpoint.

    A checkpoint writes the older of the two headers; until that is complete, the other header and
    the write-ahead log are valid. So the copy is right if all blocks of the header but one are as
    they were copied. After a later checkpoint its header would differ as well, and the repair is
    left to people.
    """
    with files.database.open("rb") as file:
        header = file.read(HEADER_BYTES)
    copy = files.header_copy.read_bytes() if files.header_copy.exists() else b""
    blocks = range(0, HEADER_BYTES, HEADER_BLOCK)
    damaged = [
        start
        for start in blocks
        if header[start : start + HEADER_BLOCK] != copy[start : start + HEADER_BLOCK]
    ]
    if len(copy) != HEADER_BYTES or len(damaged) != 1:
        raise _beyond_repair(files.database, damage)
    torn_copy = files.database.with_name(f"header.torn-{files.database.stat().st_mtime_ns}")
    write_durably(torn_copy, header)
    with files.database.open("r+b") as file:
        file.write(copy)
        file.flush()
        os.fsync(file.fileno())
    log.warning(
        "the database's header was torn (power loss?) and was put back from its copy",
        extra={"damage": damage, "kept": str(torn_copy)},
    )
