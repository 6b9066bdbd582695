"""Copies of the store for backups, each in a folder of the data directory.

The server makes a copy; the client that asked for it locks the folder (flock) while it reads it,
and then removes it. A folder that is not locked was left by a killed backup, unless the client has
not received its name yet.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fetchml.core.model import Principal
from fetchml.errors import Forbidden, Unavailable
from fetchml.ports.store import Store
from fetchml.system.threads import run_in_thread, wait_for_end

PREFIX = ".store-copy-"
TAKEN = "taken"
"""A file in the folder that marks it as received."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN_WITHIN_SECONDS = 60

log = logging.getLogger(__name__)


class StoreCopies:
    """Makes copies for `owner` alone, since a copy holds the tasks of all users."""

    def __init__(self, store: Store, data_dir: Path, owner: Principal) -> None:
        self._store = store
        self._data_dir = data_dir
        self._owner = owner
        self._one_at_a_time = asyncio.Lock()
        self._made_at = dict[str, float]()

    async def make(self, who: Principal) -> str:
        """Copy the store; returns the name of the new folder. A cancelled call leaves none.

        Raises Forbidden, Unavailable.
        """
        if who is not self._owner:
            raise Forbidden("Only the owner of the data directory may copy it, on its host")
        async with self._one_at_a_time:
            try:
                await run_in_thread(self._remove_of_killed)
                return await self._copied()
            except OSError as error:
                log.warning("the store can't be copied: %s", error)
                raise Unavailable(f"The store can't be copied: {error.strerror}") from error

    async def _copied(self) -> str:
        """Raises OSError."""
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._data_dir))
        copying = asyncio.ensure_future(self._store.copy(folder))
        try:
            await asyncio.shield(copying)
        except BaseException:
            # A thread cannot be stopped: until its end it would write to what is removed.
            await wait_for_end(copying)
            await run_in_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        self._made_at[folder.name] = time.monotonic()
        return folder.name

    def remove_left_over(self) -> None:
        """Remove the copies of interrupted backups."""
        remove_unheld(self._data_dir)

    def _remove_of_killed(self) -> None:
        too_old = time.monotonic() - _TAKEN_WITHIN_SECONDS
        self._made_at = {
            name: made_at
            for name, made_at in self._made_at.items()
            if made_at > too_old and not (self._data_dir / name / TAKEN).exists()
        }
        remove_unheld(self._data_dir, but=self._made_at)


@contextmanager
def taken(copy: Path) -> Iterator[Path]:
    """Hold the copy while inside, then remove it. Raises OSError, as when it is gone already."""
    folder = os.open(copy, _FOLDER)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(os.open(TAKEN, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)
        os.close(folder)


def remove_unheld(data_dir: Path, but: Container[str] = ()) -> None:
    """Remove all copies that are not held. Call it only while no other server makes one."""
    for copy in data_dir.glob(f"{PREFIX}*"):
        if copy.name not in but:
            with suppress(OSError):
                _remove_if_unheld(copy)


def _remove_if_unheld(copy: Path) -> None:
    """Raises OSError."""
    folder = os.open(copy, _FOLDER)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(copy, ignore_errors=True)
    finally:
        os.close(folder)
