"""Makes kept outputs readable for the tasks that get them as inputs.

Outputs are private to the server, and a container may run as another user. The task's folder stays
private, so nobody else on the host can reach them. Of outputs that this release has kept, only the
root changes.
"""

import os
import stat
from pathlib import Path

from fetchml.files.kept_outputs import FOLDER_MODE, file_mode
from fetchml.files.untrusted import FOLDER, MAX_DEPTH, TooDeepError


def make_readable(outputs: Path) -> None:
    """Let everybody read the outputs who can reach them. No link is followed; an output that the
    task never wrote becomes an empty folder. Raises OSError, TooDeepError."""
    outputs.mkdir(0o700, parents=True, exist_ok=True)
    mode = outputs.parent.stat().st_mode
    if mode & 0o007:  # Else those whom an access list names stay allowed.
        outputs.parent.chmod(0o700)
    fd = os.open(outputs, FOLDER)
    try:
        _folder(fd, 0)
    finally:
        os.close(fd)


def _folder(fd: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TooDeepError
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            inner = os.open(name, FOLDER, dir_fd=fd)
            try:
                _folder(inner, depth + 1)
            finally:
                os.close(inner)
        elif stat.S_ISREG(mode) and not mode & stat.S_IROTH:
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
            try:
                os.fchmod(inner, file_mode(mode))
            finally:
                os.close(inner)
    if not os.fstat(fd).st_mode & stat.S_IROTH:
        os.fchmod(fd, FOLDER_MODE)
