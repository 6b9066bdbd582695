"""The start of the single-file executable.

PyInstaller's executable is two processes: the first one unpacks the program into a temporary
folder, starts it there as its child, forwards signals, and removes the folder at the end.
"""

import contextlib
import ctypes
import fcntl
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fetchml.system import own_program

_PR_SET_PDEATHSIG = 1
_IN_USE = "in-use"
"""A file in the folder, locked (flock) by the process that uses the folder."""
_UNPACKED_WITHIN_SECONDS = 600
_SAME_PRESS_SECONDS = 0.25

_held: list[int] = []
"""Descriptors of locks that last until the end of the process."""


def is_frozen() -> bool:
    return getattr(sys, "frozen", False)


def run_part() -> None:
    """Run the part of the program that the arguments name, if they do, and end. It uses the files
    that its parent has unpacked, and that the parent removes."""
    if is_frozen() and len(sys.argv) == 3 and sys.argv[1] == own_program.PART:
        _restore_environment()
        importlib.import_module(sys.argv[2]).main()
        sys.exit()


def set_up() -> None:
    """Call this first in the program. Does nothing in an ordinary Python."""
    if not is_frozen():
        return
    folder = Path(sys._MEIPASS)  # type: ignore[attr-defined]  # noqa: SLF001  # PyInstaller's word
    _die_with_parent()
    _restore_environment()
    _mark_in_use(folder)
    for left_over in _is_leftover(folder):
        shutil.rmtree(left_over, ignore_errors=True)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Interrupt())


def leave_group() -> None:
    """Leave the first process's group, so that a signal to the group arrives once and not twice.
    For commands that read no terminal."""
    if is_frozen():
        os.setpgid(0, 0)


def _die_with_parent() -> None:
    """End this process when the first process is killed."""
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
        return True  # No permission to read it.


def _restore_environment() -> None:
    """Restore the environment for child processes, which need their own libraries."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before:
        os.environ["LD_LIBRARY_PATH"] = before
    of_executable = {name: os.environ.pop(name) for name in [*os.environ] if name[:5] == "_PYI_"}
    own_program.keep_for_parts(of_executable)


def _mark_in_use(folder: Path) -> None:
    """Mark the folder. The file is locked before it has its name: an unlocked one is left over."""
    fd, draft = tempfile.mkstemp(dir=folder)
    fcntl.flock(fd, fcntl.LOCK_EX)
    Path(draft).rename(folder / _IN_USE)
    _held.append(fd)
    # systemd-tmpfiles removes old files of /tmp, except from a locked folder.
    own = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(own, fcntl.LOCK_SH)
    _held.append(own)


def _is_leftover(own: Path) -> Iterator[Path]:
    """Yield folders of programs that were killed."""
    try:
        folders = [path for path in own.parent.glob("_MEI*") if path != own]
    except OSError:
        return
    for folder in folders:
        with contextlib.suppress(OSError):
            status = folder.lstat()
            is_ours = status.st_uid == os.geteuid() and (folder / "fetchml").is_dir()
            if is_ours and not folder.is_symlink() and not _in_use(folder, status.st_mtime):
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
    """Handles SIGINT once: Ctrl-C reaches both processes, and the first one forwards it."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _SAME_PRESS_SECONDS
            signal.default_int_handler(number, frame)
