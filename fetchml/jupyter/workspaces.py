"""Workspaces of Jupyter services: folders below one root, made when a service first names them,
never removed, and entered without following a link.

A workspace belongs to containers, everything above it to the server alone. A container may replace
any folder of its workspace with a link at any moment, so no path through a workspace can be
trusted: no workspace may lie in another.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fetchml.core import jupyter, permissions
from fetchml.core.model import Principal, Role
from fetchml.core.storage import NOTHING, Used
from fetchml.files.attempt_folder import FolderCall
from fetchml.files.disk_usage import MAX_DEPTH, measure
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_users import FileOwners
from fetchml.files.untrusted import first_names
from fetchml.ports.launcher import Owner, PrepareError
from fetchml.ports.store import Store
from fetchml.records import RecordSet

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
            raise WorkspaceRefused(f"{name!r} in its path is a link, or not a folder") from None
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
    """Chown everything owned by the server's uid in an open folder to `owner`, down to MAX_DEPTH.

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


KIND = "workspace"
MAX_WORKSPACES = 10_000
"""All are in memory."""


class Workspace(msgspec.Struct, frozen=True):
    """A folder that has been a workspace, so that a container may have written to it."""

    folder: str
    """Its path below the root of all workspaces."""
    user: str = ""
    """Its owner, who named it first and whose disk usage it counts for; empty if an older release
    made it and nobody has named it since."""
    bytes: int = 0
    """Its disk usage when it was last measured."""
    files: int = 0

    @property
    def used(self) -> Used:
        return Used(self.bytes, self.files)


class TooManyWorkspaces(Exception):
    """The message is for the user."""


class Workspaces:
    """Used from one event loop, after `load`."""

    def __init__(
        self,
        store: Store,
        root: Path,
        owners: FileOwners,
        usage: StorageUsage,
        *,
        in_thread: FolderCall = asyncio.to_thread,
        shared: Sequence[str] = (),
    ) -> None:
        """`in_thread`: calls what looks at the root's disk; raises OSError. `shared`: patterns of
        the workspaces in which every user may work."""
        self._shared = tuple(shared)
        self._in_thread = in_thread
        self._records = RecordSet(store, KIND, Workspace, lambda each: each.folder)
        self._usage = usage
        self._root = root
        self._owners = owners

    async def load(self, in_use: Mapping[str, str]) -> None:
        """Read the records from the open store. `in_use`: the workspaces of live services, each
        with the user of the first one. A workspace that an administrator has removed from
        the disk is forgotten unless it is in use. None is while the disk can't be read, or has
        nothing at all: it may not be mounted."""
        is_there = await self._has_any()

        async def keep(record: Workspace) -> Workspace | None:
            folder = record.folder
            if not is_there or folder in in_use or await self._may_exist(folder):
                self._usage.workspace_changed(record.user, NOTHING, record.used)
                return record
            return None

        await self._records.load(keep)
        for folder in in_use.keys() - self._records.ids():
            self._records.remember(Workspace(folder, in_use[folder]))

    async def claim(self, folder: str, who: Principal) -> None:
        """Make a folder, named by its path below the root, a workspace of the caller unless it is a
        workspace already. Durable on return. A workspace of another user is refused unless it is
        shared or the caller is an admin.

        Raises WorkspaceRefused, TooManyWorkspaces, OSError.
        """
        await self._records.change(self._claim, folder, who)

    async def make(self, folder: str, user: str) -> tuple[Path, Owner]:
        """Make the folder if it is gone; returns its path, and the owner as whom a service of
        `user` works in it: that of the user who claimed it.

        Raises WorkspaceRefused, PrepareError, OSError.
        """
        record = self._records.get(folder)
        wanted = await self._owners.of(record.user if record is not None and record.user else user)
        uid, gid = await self._in_thread(partial(make_folder, self._root, folder, wanted))
        owner = (uid, gid) if self._owners.owns_files(uid) else wanted
        return self._root / folder, owner

    async def measure_all(self) -> None:
        """Measure the disk usage of all workspaces, slowly, one after the other."""
        for folder in self._records.ids():
            await self.measure(folder)

    async def measure(self, folder: str) -> int:
        """Measure a workspace; returns by how many bytes it has grown since the last time."""
        used = await asyncio.to_thread(measure, self._root / folder, pause=True)
        return await self._records.change(self._measured, folder, used)

    async def _has_any(self) -> bool:
        try:
            return bool(await self._in_thread(partial(first_names, self._root.resolve(), 1)))
        except OSError:
            return False

    async def _may_exist(self, folder: str) -> bool:
        try:
            return await self._in_thread(partial(os.path.lexists, self._root / folder))
        except OSError:
            return True

    async def _claim(self, folder: str, who: Principal) -> None:
        record = self._records.get(folder)
        is_shared = jupyter.is_shared(folder, self._shared)
        if (
            record is not None
            and record.user
            and not (is_shared or permissions.may_change(who, record))
        ):
            raise WorkspaceRefused(
                f"{folder!r} belongs to {record.user}. Name another one; every user may work in "
                f"{' and '.join(self._shared) or 'none'} ([jupyter] shared)"
            )
        if fault := jupyter.folder_fault(folder, self._records.ids() - {folder}):
            raise WorkspaceRefused(f"can't be {folder!r}: {fault}")
        if record is None and any(each.startswith(f"{folder}/") for each in self._shared):
            raise WorkspaceRefused(f"{folder!r} is the folder of workspaces that are shared")
        await self._in_thread(partial(require_possible, self._root, folder))
        if record is None:
            if len(self._records) >= MAX_WORKSPACES:
                raise TooManyWorkspaces(
                    f"Limit of {MAX_WORKSPACES} workspaces reached: use an existing one"
                )
            # The record first: a container may get the folder as soon as it exists.
            await self._records.put(Workspace(folder, who.user))
        elif not (record.user or is_shared or who.role is Role.ADMIN):
            # An older release made it, and recorded no owner.
            await self._records.put(replace(record, user=who.user))
            self._usage.workspace_changed(record.user, record.used, NOTHING)
            self._usage.workspace_changed(who.user, NOTHING, record.used)
        try:
            await self.make(folder, who.user)
        except PrepareError as error:
            raise TooManyWorkspaces(str(error)) from None

    async def _measured(self, folder: str, used: Used) -> int:
        before = self._records.get(folder)
        if before is None or before.used == used:
            return 0
        await self._records.put(replace(before, bytes=used.bytes, files=used.files))
        self._usage.workspace_changed(before.user, before.used, used)
        return used.bytes - before.bytes if before.files else 0
