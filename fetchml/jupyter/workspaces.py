"""The workspaces of Jupyter services: folders below one root, made when first named, never removed.

What lies in a workspace belongs to containers, all above it to the server alone. A container may
put a link in the place of any folder of its workspace at any moment, so that no path that leads
through one can be trusted: no workspace may lie in another.
"""

import asyncio
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fetchml.core.requests import jupyter
from fetchml.core.storage import NOTHING, Used
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_users import Owners
from fetchml.files.tree_size import MAX_DEPTH, measure
from fetchml.ports.launcher import Owner, PrepareError
from fetchml.ports.store import Store

KIND = "workspace"
MAX_WORKSPACES = 10_000
"""They are all in memory."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspace(msgspec.Struct, frozen=True):
    """A record: this folder has been a workspace, so that a container may have written there."""

    folder: str
    user: str = ""
    """Whoever named it first, whom it counts for; empty: an older release made it."""
    bytes: int = 0
    """What it took on the disk when it was last measured."""
    files: int = 0

    @property
    def used(self) -> Used:
        return Used(self.bytes, self.files)


_decode = msgspec.json.Decoder(Workspace).decode


class WorkspaceRefused(Exception):
    """It can't be one. The message, for the user, goes on after "workspace: "."""


class TooManyWorkspaces(Exception):
    """The message is for the user."""


class Workspaces:
    """Used from one event loop, after `load`."""

    def __init__(self, store: Store, root: Path, owners: Owners, usage: StorageUsage) -> None:
        """`owners`: whom a workspace must belong to; None: it is open to every user."""
        self._usage = usage
        self._store = store
        self._root = root
        self._owners = owners
        self._known: dict[str, Workspace] = {}
        """By folder."""
        self._claiming = asyncio.Lock()

    async def load(self, in_use: frozenset[str]) -> None:
        """What is known. A workspace that the owner of the box has removed is one no longer,
        unless it is in use."""
        for data in await self._store.list_documents(KIND):
            record = _decode(data)
            folder = record.folder
            if folder in in_use or await asyncio.to_thread(os.path.lexists, self._root / folder):
                self._known[folder] = record
                self._usage.workspace_changed(record.user, NOTHING, record.used)
            else:
                await self._store.delete_document(KIND, folder)
        for folder in in_use - self._known.keys():
            self._known[folder] = Workspace(folder)

    async def claim(self, folder: str, user: str) -> None:
        """Make this folder, a path below the root, a workspace of the user's if it is none yet.

        Raises WorkspaceRefused, TooManyWorkspaces, OSError. Durable on return.
        """
        async with self._claiming:
            if fault := jupyter.folder_fault(folder, self._known.keys() - {folder}):
                raise WorkspaceRefused(f"can't be {folder!r}: {fault}")
            await asyncio.to_thread(self._look, folder)
            if folder not in self._known:
                if len(self._known) >= MAX_WORKSPACES:
                    raise TooManyWorkspaces(
                        f"There are {MAX_WORKSPACES} workspaces, as many as the server keeps: name "
                        "one of them"
                    )
                # First what is known of it: a container may get it as soon as it is there.
                await self._save(Workspace(folder, user))
            try:
                await self.make(folder, user)
            except PrepareError as error:
                raise TooManyWorkspaces(str(error)) from None

    async def make(self, folder: str, user: str) -> tuple[Path, Owner]:
        """Where it is, made if it is gone, and as whom a service of the user's works in it: as the
        user who had it made. Raises WorkspaceRefused, PrepareError, OSError."""
        known = self._known.get(folder)
        wanted = await self._owners.of(known.user if known is not None and known.user else user)
        uid, gid = await asyncio.to_thread(self._make, folder, wanted)
        owner = (uid, gid) if self._owners.is_known(uid) else wanted
        return self._root / folder, owner

    async def measure_all(self) -> None:
        """What each takes on the disk, slowly, one after the other."""
        for folder in list(self._known):
            await self.measure(folder)

    async def measure(self, folder: str) -> int:
        """What it takes on the disk; by how many bytes it has grown since the last time."""
        used = await asyncio.to_thread(measure, self._root / folder, pause=True)
        async with self._claiming:
            before = self._known.get(folder)
            if before is None or before.used == used:
                return 0
            await self._save(replace(before, bytes=used.bytes, files=used.files))
            self._usage.workspace_changed(before.user, before.used, used)
        return used.bytes - before.bytes if before.files else 0

    async def _save(self, record: Workspace) -> None:
        await self._store.put_document(KIND, record.folder, msgspec.json.encode(record))
        self._known[record.folder] = record

    def _look(self, folder: str) -> None:
        """Raises WorkspaceRefused for something that is there and is no folder, or a link."""
        with _Walk(self._root) as walk:
            for part in folder.split("/"):
                if not walk.enter(part, make=False):
                    return

    def _make(self, folder: str, owner: Owner) -> tuple[int, int]:
        with _Walk(self._root) as walk:
            for part in folder.split("/"):
                walk.enter(part, make=True)
            return walk.hand_over(owner)


class _Walk:
    """From the root down, a folder at a time, never through a link."""

    def __init__(self, root: Path) -> None:
        root.mkdir(0o700, parents=True, exist_ok=True)
        # The root itself may be a link: it is the owner's of the box.
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> "_Walk":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def enter(self, name: str, *, make: bool) -> bool:
        """False: it is not there. Raises WorkspaceRefused, OSError."""
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
        """What belongs to others already stays theirs. Whose it is: uid and gid."""
        status = os.fstat(self._fd)
        if status.st_uid != os.geteuid():
            return status.st_uid, status.st_gid
        if owner is None:
            os.fchmod(self._fd, 0o777)
        elif owner != (os.geteuid(), os.getegid()):
            # Containers of a server without capabilities had its own uid. What root has in there,
            # a person put there. The folder itself comes last: this is gone through again if it
            # was interrupted.
            if os.geteuid() != 0:
                _give_content(self._fd, owner)
            os.fchown(self._fd, *owner)
        status = os.fstat(self._fd)
        return status.st_uid, status.st_gid


def _give_content(folder: int, owner: tuple[int, int], depth: int = 0) -> None:
    """Give `owner` what the server's own uid has in an open folder, at any depth up to MAX_DEPTH.

    No link is followed. What vanishes meanwhile is left out. Raises OSError.
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
