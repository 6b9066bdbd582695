"""Folders of workspaces, below one root, that are made and entered without following a link.

A workspace belongs to containers, everything above it to the server alone. A container may replace
any folder of its workspace with a link at any moment, so no path through a workspace can be
trusted: no workspace may lie in another.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from fetchml.files.tree_size import MAX_DEPTH
from fetchml.ports.launcher import Owner

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class WorkspaceRefused(Exception):
    """The folder cannot be a workspace. The message, for users, continues "workspace: "."""


def require_possible(root: Path, folder: str) -> None:
    """Raise WorkspaceRefused if a part of the path is a link, or exists and is no folder."""
    with FolderWalk(root) as walk:
        for part in folder.split("/"):
            if not walk.enter(part, make=False):
                return


def make_folder(root: Path, folder: str, owner: Owner) -> tuple[int, int]:
    """Make the folder if it is missing, for `owner`; returns the uid and gid that have it.

    Raises WorkspaceRefused, OSError.
    """
    with FolderWalk(root) as walk:
        for part in folder.split("/"):
            walk.enter(part, make=True)
        return walk.hand_over(owner)


class FolderWalk:
    """A walk from the root down, one folder at a time, never through a link."""

    def __init__(self, root: Path) -> None:
        root.mkdir(0o700, parents=True, exist_ok=True)
        # The root itself may be a link: the host's administrator has set it up.
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> "FolderWalk":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def enter(self, name: str, *, make: bool) -> bool:
        """Enter a folder of this one. Returns `False` if it does not exist and is not to be made.

        Raises WorkspaceRefused, OSError.
        """
        if make:
            try:
                os.mkdir(name, 0o700, dir_fd=self._fd)
            except FileExistsError:
                pass
            else:
                os.fsync(self._fd)
        try:
            inner = os.open(name, _FOLDER, dir_fd=self._fd)
        except FileNotFoundError:
            if make:
                raise
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise WorkspaceRefused(f"{name!r} on its way is a link, or no folder") from None
        os.close(self._fd)
        self._fd = inner
        return True

    def hand_over(self, owner: Owner) -> tuple[int, int]:
        """Give this folder to `owner` unless it belongs to another user already; returns the uid
        and gid that have it. `owner`: `None` if every user may write to it."""
        status = os.fstat(self._fd)
        if status.st_uid != os.geteuid():
            return status.st_uid, status.st_gid
        if owner is None:
            os.fchmod(self._fd, 0o777)
        elif owner != (os.geteuid(), os.getegid()):
            # Containers of a server without capabilities had the server's uid. Files of root were
            # put there by a person. The folder itself comes last: an interrupted change of owners
            # starts again.
            if os.geteuid() != 0:
                _give_content(self._fd, owner)
            os.fchown(self._fd, *owner)
        status = os.fstat(self._fd)
        return status.st_uid, status.st_gid


def _give_content(folder: int, owner: tuple[int, int], depth: int = 0) -> None:
    """Give `owner` all that the server's uid has in an open folder, down to MAX_DEPTH.

    No link is followed. Entries that vanish meanwhile are skipped. Raises OSError.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
                    inner = os.open(entry.name, _FOLDER, dir_fd=folder)
                    try:
                        _give_content(inner, owner, depth + 1)
                    finally:
                        os.close(inner)
                if status.st_uid == os.geteuid():
                    os.chown(entry.name, *owner, dir_fd=folder, follow_symlinks=False)
