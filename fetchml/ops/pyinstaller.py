"""What the executable needs that an ordinary Python does not.

PyInstaller's executable is two processes: the first unpacks the program into a temporary folder,
starts it from there as its child, hands on signals, and removes the folder at the end.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_IN_USE = "in-use"
"""A file in the folder, locked (flock) by the process that runs from there."""
_UNPACKED_WITHIN_SECONDS = 600
_SAME_PRESS_SECONDS = 0.25

_held: list[int] = []
"""Descriptors of locks, held to the end of the process."""


def is_frozen() -> bool:
    return getattr(sys, "frozen", False)


def set_up() -> None:
    """First thing in the program; does nothing in an ordinary Python."""
    if not is_frozen():
        return
    folder = Path(sys._MEIPASS)  # type: ignore[attr-defined]  # noqa: SLF001  # PyInstaller's word
    _die_with_parent()
    _restore_environment()
    _mark_in_use(folder)
    for left_over in _left_over(folder):
        shutil.rmtree(left_over, ignore_errors=True)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Interrupt())


def leave_group() -> None:
    """Out of the first process's group, so that a signal to the group comes once, from it, and not
    twice. For what reads no terminal."""
    if is_frozen():
        os.setpgid(0, 0)


def _die_with_parent() -> None:
    """Whoever kills the process that they started has killed the program."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or not _is_first_process(parent):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first_process(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink() == Path("/proc/self/exe").readlink()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it may not be looked at here


def _restore_environment() -> None:
    """For programs that are started from here: they shall find their own libraries."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before:
        os.environ["LD_LIBRARY_PATH"] = before
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]


def _mark_in_use(folder: Path) -> None:
    """Locked before it has its name: whoever finds it unlocked finds a dead one's."""
    fd, draft = tempfile.mkstemp(dir=folder)
    fcntl.flock(fd, fcntl.LOCK_EX)
    Path(draft).rename(folder / _IN_USE)
    _held.append(fd)
    # systemd-tmpfiles removes what is old in /tmp, but not from a folder that is itself locked.
    own = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(own, fcntl.LOCK_SH)
    _held.append(own)


def _left_over(own: Path) -> Iterator[Path]:
    """Folders like this one that nobody runs from: of programs that were killed."""
    try:
        folders = [path for path in own.parent.glob("_MEI*") if path != own]
    except OSError:
        return
    for folder in folders:
        with contextlib.suppress(OSError):
            found = folder.lstat()
            is_ours = found.st_uid == os.geteuid() and (folder / "fetchml").is_dir()
            if is_ours and not folder.is_symlink() and not _in_use(folder, found.st_mtime):
                yield folder


def _in_use(folder: Path, changed: float) -> bool:
    """Raises OSError."""
    try:
        fd = os.open(folder / _IN_USE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - changed < _UNPACKED_WITHIN_SECONDS
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class _Interrupt:
    """Ctrl-C reaches both processes, and the first one hands it on: it would come twice."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _SAME_PRESS_SECONDS
            signal.default_int_handler(number, frame)
