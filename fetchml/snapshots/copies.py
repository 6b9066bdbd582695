"""Private copies of snapshots: the workspaces of tasks."""

import asyncio
from collections.abc import Callable
from functools import partial

from fetchml.errors import DiskFull
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import Owner, PrepareError
from fetchml.snapshots.files import DamagedSnapshot, SnapshotFiles
from fetchml.snapshots.records import SnapshotRecords
from fetchml.system.threads import WorkerThreads


class SnapshotCopies:
    def __init__(
        self, records: SnapshotRecords, files: SnapshotFiles, *, has_room: Callable[[], bool]
    ) -> None:
        self._records = records
        self._files = files
        # Threads of their own, so that no upload holds up a task.
        self._copying = WorkerThreads("snapshot-copy", 4, has_room=has_room)
        self.loaded = asyncio.Event()
        """Set when the records are loaded: until then `copy` waits."""

    async def copy(self, user: str, snapshot_id: str, attempt: AttemptFolder, owner: Owner) -> None:
        """Make the attempt's workspace a private copy for `owner`. A workspace that exists is
        complete, and stays as it is.

        Raises PrepareError.
        """
        await self.loaded.wait()
        if self._records.to_run(user, snapshot_id) is None:
            raise PrepareError(f"there is no snapshot {snapshot_id!r} here", permanent=True)
        try:
            await self._copying.run(partial(self._files.copy, snapshot_id, attempt, owner))
        except DamagedSnapshot:
            message = f"the files of snapshot {snapshot_id} are damaged: delete and upload it again"
            raise PrepareError(message, permanent=True) from None
        except DiskFull:
            raise PrepareError(DiskFull.REASON, permanent=False) from None
        except OSError as error:
            message = f"the snapshot can't be copied: {error.strerror or error}"
            raise PrepareError(message, permanent=False) from error
