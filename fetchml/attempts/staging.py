"""What a task needs beside its image, put in its place before the launcher makes it ready."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fetchml.core.model import Task, TaskSpec
from fetchml.core.requests.snapshot import Snapshot
from fetchml.datasets.provider import DatasetProvider
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.task_users import Owners
from fetchml.ports.launcher import Mount, Owner
from fetchml.snapshots.service import Snapshots


class Provided(NamedTuple):
    """What a launcher has to know of the inputs."""

    mounts: tuple[Mount, ...]
    owner: Owner
    """Whom the attempt's files belong to."""


class Inputs:
    """The one place that provides tasks with their snapshots, datasets and workspaces."""

    def __init__(
        self,
        snapshots: Snapshots,
        datasets: DatasetProvider,
        owners: Owners,
        *,
        workspace_of: Callable[[Task], Awaitable[tuple[Mount, Owner]]],
        secrets_of: Callable[[Task], dict[str, str]],
    ) -> None:
        """`owners`: whom a task's files must belong to. `workspace_of`: of a service, and whom it
        belongs to; raises PrepareError. `secrets_of`: the environment of a service that is
        stored nowhere."""
        self._snapshots = snapshots
        self._owners = owners
        self._datasets = datasets
        self._workspace_of = workspace_of
        self._secrets_of = secrets_of

    async def open(self, live: frozenset[tuple[str, int]]) -> None:
        """Before anything is provided. `live`: the attempts (task id, number) that go on; what
        others held is let go."""
        await self._datasets.open(live)

    async def provide(
        self, task: Task, folder: AttemptFolder, progress: Callable[[str], None]
    ) -> Provided:
        """Have everything ready for an attempt.

        May be called again for one attempt, also by a later server while its shim waits already:
        what is in place then stays as it is. `progress` is told short sentences, in the event
        loop. Once it is cancelled, nothing writes to the attempt's folder any more. Raises
        PrepareError.
        """
        spec = task.spec
        # An attempt that an earlier server has handed over stays whose it is: its shim may wait.
        owner = await asyncio.to_thread(folder.owner)
        if task.service:
            mount, workspace_owner = await self._workspace_of(task)
            return Provided((mount,), owner or workspace_owner)
        owner = owner or await self._owners.of(task.user)
        if spec.snapshot_id is not None:
            progress("copying the snapshot")
            await self._snapshots.copy(task.user, spec.snapshot_id, folder, owner)
        return Provided(await self._datasets.provide(task, progress), owner)

    def secrets(self, task: Task) -> dict[str, str]:
        """What an attempt has in its environment and nothing keeps. After `provide`."""
        return self._secrets_of(task) if task.service else {}

    async def release(self, task: Task) -> None:
        """No process of the task's current attempt is left, nor will there be one."""
        if task.spec.dataset_specs:
            await self._datasets.release(task.id, task.attempt)

    def snapshot(self, user: str, snapshot_id: str) -> Snapshot | None:
        """The snapshot, which counts as used. `None` if the user's tasks may not run it."""
        return self._snapshots.to_run(user, snapshot_id)

    async def dataset_fault(self, spec: TaskSpec) -> str | None:
        """Why the server never provides one of the task's `dataset_specs`; `None` if it may."""
        return await self._datasets.fault(spec.dataset_specs or ())
