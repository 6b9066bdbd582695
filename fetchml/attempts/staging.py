"""Inputs of an attempt (snapshot, datasets, workspace), in place before it is launched."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.attempts import volumes
from fetchml.attempts.checkpoints import Checkpoints
from fetchml.attempts.task_inputs import TaskInputs
from fetchml.core.model import Task, UsedDataset
from fetchml.datasets.provider import DatasetProvider
from fetchml.environments.environment_service import Environments
from fetchml.environments.package_lists import PackageLists
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.task_users import FileOwners
from fetchml.files.volume_usage import VolumeUsage
from fetchml.ports.launcher import LaunchSpec, Mount, NamedFolder, Owner, Secrets
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.user_secrets.secret_service import UserSecrets


class StagedInputs(NamedTuple):
    """The operations of a launcher that the inputs need."""

    mounts: tuple[Mount, ...]
    owner: Owner
    """Owner of the attempt's files."""
    named_folders: tuple[NamedFolder, ...] = ()
    volumes: tuple[Mount, ...] = ()
    of_tasks: tuple[Mount, ...] = ()
    """Outputs of other tasks."""
    variables: Mapping[str, str] = MappingProxyType({})
    """Variables that replace those of the task."""
    secrets: Secrets | None = None
    used_datasets: tuple[UsedDataset, ...] = ()
    packages: str | None = None
    """Id of the list of the environment's packages."""

    def into(self, launch: LaunchSpec) -> LaunchSpec:
        return replace(
            launch,
            env={**launch.env, **self.variables},
            datasets=self.mounts,
            named_folders=self.named_folders,
            inputs=self.of_tasks,
            volumes=self.volumes,
            secrets=self.secrets,
            owner=self.owner,
        )


class Inputs:
    """Provides tasks with their snapshots, datasets and workspaces."""

    def __init__(
        self,
        snapshots: Snapshots,
        datasets: DatasetProvider,
        tasks: TaskInputs,
        owners: FileOwners,
        checkpoints: Checkpoints,
        environments: Environments,
        secrets: UserSecrets,
        package_lists: PackageLists,
        *,
        workspace_of: Callable[[Task], Awaitable[tuple[Mount, Owner]]],
        service_variables: Callable[[Task], dict[str, str]],
        service_folders: tuple[NamedFolder, ...],
        volumes: VolumeUsage,
    ) -> None:
        """`owners` decides who owns a task's files. `workspace_of` returns a service's workspace
        and its owner, and raises PrepareError. `service_variables` returns the variables
        of a service, which are never stored, `service_folders` what each finds."""
        self._snapshots = snapshots
        self._tasks = tasks
        self._owners = owners
        self._datasets = datasets
        self.checkpoints = checkpoints
        self._environments = environments
        self._secrets = secrets
        self._package_lists = package_lists
        self._workspace_of = workspace_of
        self._service_variables = service_variables
        self._service_folders = service_folders
        self._volumes = volumes

    async def open(self, live: frozenset[tuple[str, int]], instance_id: str) -> None:
        """Release what attempts held that are not in `live` (task id, number). Before the first
        `provide`. `instance_id`: the data directory's, for the launcher."""
        await self._datasets.open(live)
        await self._environments.open(live, instance_id)

    async def close(self) -> None:
        """End all preparations; once no attempt waits for it."""
        await self._environments.close()

    async def provide(
        self,
        task: Task,
        folder: AttemptFolder,
        progress: Callable[[str], None],
        owner: Owner = None,
    ) -> StagedInputs:
        """Put all inputs of an attempt in place. Raises PrepareError.

        May be called again for the same attempt, also by a later server while the shim waits
        already: whatever is in place stays as it is. `progress` receives short sentences, in the
        event loop. `owner`: of the attempt's folders, if they were handed over already. After a
        cancellation nothing writes to the attempt's folder any more.
        """
        spec = task.spec
        # The owner of an attempt that an earlier server prepared stays: its shim may wait already.
        if task.service:
            mount, workspace_owner = await self._workspace_of(task)
            return StagedInputs(
                (mount,),
                owner or workspace_owner,
                self._service_folders,
                variables=self._service_variables(task),
            )
        owner = owner or await self._owners.of(task.user)
        if spec.snapshot_id is not None:
            progress("copying the snapshot")
            await self._snapshots.copy(task.user, spec.snapshot_id, folder, owner)
        named_folders: tuple[NamedFolder, ...] = ()
        if spec.checkpoint:
            named_folders = (await self.checkpoints.provide(task, owner, progress),)
        of_tasks: tuple[Mount, ...] = ()
        if spec.inputs_from is not None:
            of_tasks = await self._tasks.provide(task, owner)
        datasets = await self._datasets.provide(task, progress)
        own: tuple[Mount, ...] = ()
        if spec.volumes:
            own = await asyncio.to_thread(volumes.mounts_of, task, self._volumes)
        used = await self._datasets.used(task, datasets)
        staged = StagedInputs(datasets, owner, named_folders, own, of_tasks, used_datasets=used)
        if spec.environment is not None:
            found = await self._environments.provide(task, owner, progress)
            mounts = (*datasets, *found.mounts)
            packages = None
            if found.folder is not None:
                packages = await self._package_lists.record(found.folder)
            staged = staged._replace(mounts=mounts, variables=found.variables, packages=packages)
        if spec.secrets:
            staged = staged._replace(secrets=self._secrets.provide(task))
        return staged

    async def release(self, task: Task) -> None:
        """Release the inputs of the task's current attempt, which has no process and gets none."""
        if task.spec.dataset_specs:
            await self._datasets.release(task.id, task.attempt)
        if task.spec.environment is not None:
            await self._environments.release(task)
