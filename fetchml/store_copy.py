"""Copies of the store for a backup, each in a folder of the data directory."""

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path

from fetchml.core.model import Principal
from fetchml.errors import Forbidden, Unavailable
from fetchml.ports import Store
from fetchml.threads import done, to_its_end

PREFIX = ".store-copy-"

log = logging.getLogger(__name__)


class StoreCopies:
    """`owner`: who alone may ask, since a copy holds everybody's tasks."""

    def __init__(self, store: Store, data_dir: Path, owner: Principal) -> None:
        self._store = store
        self._data_dir = data_dir
        self._owner = owner
        self._one_at_a_time = asyncio.Lock()

    async def make(self, who: Principal) -> str:
        """The name of the new folder. Whoever is cancelled leaves none. Raises Forbidden,
        Unavailable."""
        if who is not self._owner:
            raise Forbidden("Only the owner of the data directory may copy it, on its machine")
        async with self._one_at_a_time:
            try:
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
            # A thread can't be stopped: until it is done it would fill what is removed.
            await done(copying)
            await to_its_end(shutil.rmtree, folder, ignore_errors=True)
            raise
        return folder.name

    def remove_left_over(self) -> None:
        """Those of backups that were cut off."""
        for folder in self._data_dir.glob(f"{PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)
