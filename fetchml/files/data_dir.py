"""The data directory: private to its owner, and locked by one server at a time."""

import contextlib
import fcntl
import json
import os
import pwd
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fetchml.files.layout import LOCK, may_become_data_dir
from fetchml.files.own_file import open_own, read_own

LEFT_SECONDS = 5.0
"""Longest time for which the lock of a dead server is awaited."""
POLL_SECONDS = 0.01


class DataDirBusy(Exception):
    """Another server uses the data directory. The message names its process id."""


class ForeignDataDir(Exception):
    """The folder is another user's data directory, or not a data directory. The message says
    what to do."""


class DataDirLock:
    """Holds `<data-dir>/lock` (flock) until `release`, or until the process ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        # The file stays: a server that opened it a moment ago must lock the same inode.
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def require_own(data_dir: Path) -> None:
    """Reject another user's data directory if the server is root.

    Root would leave files there that the owner's server can't open. Raises ForeignDataDir, OSError.
    """
    if os.geteuid() != 0 or not data_dir.exists() or (owner := data_dir.stat().st_uid) == 0:
        return
    try:
        user = pwd.getpwuid(owner).pw_name
    except KeyError:
        user = f"#{owner}"
    raise ForeignDataDir(
        f"{data_dir} is the data directory of user {user}, and a server that root starts would "
        f"leave files there that {user} can't open: start it as that user (sudo -u "
        f"{shlex.quote(user)} fetchml serve, or for the service systemctl start fetchml), or give "
        "it another --data-dir"
    )


def lock_data_dir(data_dir: Path) -> DataDirLock:
    """Create the folder if necessary, make it private, and lock it.

    A folder in use for another purpose is rejected, so that nobody loses access to it. Raises
    DataDirBusy, ForeignDataDir, OSError.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_open = data_dir.stat().st_mode & 0o077
    if is_open and not (may_become_data_dir(data_dir) or is_taken(data_dir)):
        raise ForeignDataDir(
            f"{data_dir} is not a data directory of FetchML, has something in it, and others may "
            "look into it, which would end. Nothing was changed: name another --data-dir; or, if "
            f"it is meant for FetchML, chmod 700 {shlex.quote(str(data_dir))}"
        )
    data_dir.chmod(0o700)
    fd = open_own(data_dir / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        _lock(fd)
    except BlockingIOError:
        holder = _holder(os.pread(fd, 4096, 0))
        os.close(fd)
        raise DataDirBusy(
            f"the data directory {data_dir} is in use by another server ({holder}): stop that "
            "one, or give this one another --data-dir"
        ) from None
    with contextlib.suppress(OSError):  # For people only; a full disk may have no space for it.
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid()}).encode(), 0)
    return DataDirLock(fd)


def _lock(fd: int) -> None:
    """Raises BlockingIOError if a server that runs has the lock.

    One that was killed while it started a program leaves it to that child for a moment.
    """
    deadline = time.monotonic() + LEFT_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline or not _is_dead(_pid(os.pread(fd, 4096, 0))):
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def _is_dead(pid: int | None) -> bool:
    return pid is not None and not Path(f"/proc/{pid}").exists()


def is_taken(data_dir: Path) -> bool:
    """Return whether a server runs on this data directory. Changes nothing. Raises OSError."""
    try:
        fd = open_own(data_dir / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(data_dir: Path) -> int | None:
    """The process id of the server that runs on this data directory. `None` if none does, or if it
    has not written it yet. Changes nothing. Raises OSError."""
    if not is_taken(data_dir):
        return None
    return _pid(read_own(data_dir / LOCK, 4096))


def _holder(content: bytes) -> str:
    return f"pid {_pid(content) or 'unknown'}"


def _pid(content: bytes) -> int | None:
    """`None` if the server has the lock but has not written its pid yet."""
    try:
        return int(json.loads(content)["pid"])
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def as_owner(data_dir: Path) -> Iterator[None]:
    """Run as the owner of the data directory if this process is root's, in all its threads.

    A file that root creates there could not be opened by the owner's server. Raises OSError.
    """
    status = data_dir.stat()
    if os.geteuid() != 0 or status.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(status.st_gid)
    try:
        os.seteuid(status.st_uid)
        try:
            yield
        finally:
            os.seteuid(0)
    finally:
        os.setegid(group)
