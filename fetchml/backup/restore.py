"""Restores a data directory from a backup: completely, or not at all."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import duckdb
import msgspec

from fetchml.adapters.duckdb.database import read_keys
from fetchml.backup.archive import (
    DATA,
    BadBackup,
)
from fetchml.backup.unpack import unpack
from fetchml.core.model import Key, Role
from fetchml.files.data_dir import DataDirBusy, ForeignDataDir, is_taken, lock_data_dir
from fetchml.files.layout import ADMIN_KEY, DATABASE, LOCK, STORE
from fetchml.files.own_file import sync_folder
from fetchml.system.signals import interruptible

_OF_A_FILE_SYSTEM = {"lost+found"}
"""Entries of a new file system's root, and so of a mount point."""
_decode_key = msgspec.json.Decoder(Key).decode


class RestoreReport(NamedTuple):
    """The result that `fetchml restore` shows."""

    is_checked: bool
    """Whether the backup has a checksum, which matched. Those of older releases have none."""
    admin_keys: tuple[Key, ...] | None
    """The valid admin keys of the restored server, oldest first; `None` if the database cannot be
    read here."""
    has_key_file: bool
    """Whether the backup has the file with the admin key."""


def restore(archive: BinaryIO, data_dir: Path) -> RestoreReport:
    """Restore the data directory, completely or not at all. Raises BadBackup, OSError."""
    data_dir = data_dir.resolve()
    if data_dir.exists():
        with _taken(data_dir) as owner, _draft(data_dir, ".restoring-") as draft:
            with interruptible():
                restored = _unpack(archive, draft)
                _hand_over(draft / DATA, owner)
            _move_up(draft / DATA, data_dir)
    else:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        with _draft(data_dir.parent, f"{data_dir.name}.restoring-") as draft:
            with interruptible():
                restored = _unpack(archive, draft)
            (draft / DATA).chmod(0o700)
            (draft / DATA).rename(data_dir)
            sync_folder(data_dir.parent)
    return restored


@contextmanager
def _draft(folder: Path, prefix: str) -> Iterator[Path]:
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield draft
    finally:
        shutil.rmtree(draft)


@contextmanager
def _taken(data_dir: Path) -> Iterator[tuple[int, int]]:
    """Lock out everybody else from an empty folder, and yield its owner's uid and gid. A failure
    leaves the folder as it was. It is never replaced: it may be a mount point.

    Raises BadBackup, OSError.
    """
    if not data_dir.is_dir():
        raise BadBackup(f"{data_dir} is not a folder: move it away first, it is never overwritten")
    if is_taken(data_dir):
        raise BadBackup(f"a server runs on {data_dir}, or another restore: stop it first")
    _require_empty(data_dir)
    before = data_dir.stat()
    owner, here = (before.st_uid, before.st_gid), (os.geteuid(), os.getegid())
    try:
        # Root's until it is complete: its owner could otherwise place links in root's way.
        if owner != here:
            os.chown(data_dir, *here)
        data_dir.chmod(0o700)
        _require_empty(data_dir)
        with _locked(data_dir, owner):
            yield owner
    except BaseException:
        data_dir.chmod(stat.S_IMODE(before.st_mode))
        raise
    finally:
        _give(data_dir, owner)


def _require_empty(data_dir: Path) -> None:
    if names := sorted({path.name for path in data_dir.iterdir()} - _OF_A_FILE_SYSTEM):
        raise BadBackup(
            f"{data_dir} is not empty ({names[0]!r} is in it): move it away first, it is never "
            "overwritten"
        )


@contextmanager
def _locked(data_dir: Path, owner: tuple[int, int]) -> Iterator[None]:
    """While inside, no server can start on it. The lock file stays after success.

    Raises BadBackup, OSError.
    """
    try:
        lock = lock_data_dir(data_dir)
    except (DataDirBusy, ForeignDataDir) as error:
        raise BadBackup(str(error)) from error
    try:
        _give(data_dir / LOCK, owner)
        yield
    except BaseException:
        (data_dir / LOCK).unlink()
        raise
    finally:
        lock.release()


def _move_up(root: Path, data_dir: Path) -> None:
    """Move all entries or none. The store comes last: without it the rest means nothing.

    Raises BadBackup, OSError.
    """
    names = sorted((path.name for path in root.iterdir()), key=lambda name: (name == STORE, name))
    moved = list[str]()
    try:
        for name in names:
            if os.path.lexists(data_dir / name):
                raise BadBackup(
                    f"{data_dir / name} was created concurrently: it is never overwritten"
                )
            if name == STORE:
                sync_folder(data_dir)
            moved.append(name)
            (root / name).rename(data_dir / name)
        sync_folder(data_dir)
    except BaseException:
        for name in reversed(moved):
            with suppress(FileNotFoundError):
                (data_dir / name).rename(root / name)
        raise


def _unpack(archive: BinaryIO, draft: Path) -> RestoreReport:
    """Raises BadBackup, OSError."""
    is_checked = unpack(archive, draft)
    root = draft / DATA
    return RestoreReport(is_checked, _admin_keys(root), (root / ADMIN_KEY).exists())


def _admin_keys(root: Path) -> tuple[Key, ...] | None:
    """Return the admin keys that are neither revoked nor expired."""
    now = time.time_ns() // 1_000_000
    try:
        stored_keys = map(_decode_key, read_keys(root / STORE / DATABASE))
        keys = [key for key in stored_keys if key.role is Role.ADMIN and key.revoked_at is None]
    except (duckdb.Error, msgspec.MsgspecError):
        return None
    return tuple(key for key in keys if key.expires_at is None or key.expires_at > now)


def _hand_over(root: Path, owner: tuple[int, int]) -> None:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            _give(Path(folder) / name, owner)


def _give(path: Path, owner: tuple[int, int]) -> None:
    if owner != (os.geteuid(), os.getegid()):
        os.chown(path, *owner, follow_symlinks=False)
