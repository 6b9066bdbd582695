"""Which jobs attempts may have: their names, as records on the shared folder have them, and the
account that they belong to."""

import asyncio
import logging
from functools import partial

from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.accounts.account import Accounts
from fetchml.adapters.slurm.array_records import ArrayRecords
from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.start_files import Records
from fetchml.files.shared_disk import SharedDisk, is_fault
from fetchml.ports.launcher import LaunchSpec

AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)


class RecordedJobs:
    """Used from one event loop."""

    def __init__(
        self, follower: Follower, arrays: ArrayRecords, disk: SharedDisk, accounts: Accounts
    ) -> None:
        self._follower = follower
        self._arrays = arrays
        self._disk = disk
        self._accounts = accounts
        self.prefix = ""
        """Of the names of this server's jobs."""

    def name(self, task_id: str, attempt: int) -> str:
        """Return the name of an attempt's job."""
        return f"{self.prefix}{task_id}-{attempt}"

    def begin(self, run: LaunchSpec) -> Followed:
        """Return the entry of an attempt's job, of which no record may have been read."""
        name, user = self.name(run.task_id, run.attempt), self._accounts.name_of(run.user)
        accounts = self._accounts
        return self._follower.follow(name, user, user or accounts.own, accounts.others)

    async def of(self, run: LaunchSpec) -> Followed:
        """Return the entry of an attempt's job. Waits while the shared folder fails."""
        followed = self.begin(run)
        while followed.array_task is None:
            try:
                await self.read_array_task(run, followed)
            except OSError as error:
                if not is_fault(error):
                    followed.array_task = ""  # The task has replaced the file: it has started.
                    break
                log.warning("the shared folder fails: %s", error, extra={"task_id": run.task_id})
                await asyncio.sleep(AGAIN_SECONDS)
        return followed

    async def read_array_task(self, run: LaunchSpec, followed: Followed) -> None:
        """Raises OSError."""
        found = await self._disk(partial(start_files.array_task, run.folder))
        await self._arrays.read()
        recorded = self._arrays.task_of((run.task_id, run.attempt))
        followed.array_task = followed.array_task or found or recorded

    async def records(self, run: LaunchSpec) -> Records:
        """Read the attempt's folder. Waits while the shared folder fails."""
        while True:
            try:
                return await self._disk(partial(start_files.read, run.folder))
            except OSError as error:
                log.warning("the shared folder fails: %s", error, extra={"task_id": run.task_id})
                await asyncio.sleep(AGAIN_SECONDS)
