"""Datasets, volumes, secrets, other tasks and packages that a request names."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fetchml.core.model import Principal, TaskSpec
from fetchml.core.requests.checks import Violation
from fetchml.core.requests.project_file import ProjectFile
from fetchml.core.requests.submission import checkpoint_source_fault
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.tasks.dependencies import Dependencies
from fetchml.engine.tasks.tasks import Tasks
from fetchml.environments.environment_service import Environments
from fetchml.errors import FieldViolation, NotFound, ValidationFailed
from fetchml.files.volume_usage import VolumeUsage
from fetchml.user_secrets.secret_service import UserSecrets


def needs_sources(spec: TaskSpec) -> bool:
    """Return whether a task has anything that `Sources.check` looks for."""
    return bool(
        spec.dataset_specs
        or spec.checkpoint_from
        or spec.after
        or spec.environment
        or spec.volumes
        or spec.secrets
    )


@contextmanager
def as_placed(request: Mapping[str, object], project: ProjectFile) -> Iterator[None]:
    """Report violations of fields that come from the snapshot's fetchml.toml as faults of that
    file, with their lines."""
    try:
        yield
    except ValidationFailed as error:
        placed = [
            FieldViolation(*project.placed(Violation(*each), request, is_sentence=True))
            for each in error.violations
        ]
        raise ValidationFailed(placed) from None


class Sources:
    """Used from one event loop."""

    def __init__(
        self,
        datasets: DatasetProvider,
        tasks: Tasks,
        dependencies: Dependencies,
        environments: Environments,
        *,
        secrets: UserSecrets,
        volumes: VolumeUsage,
    ) -> None:
        self._datasets = datasets
        self._tasks = tasks
        self._dependencies = dependencies
        self._environments = environments
        self._secrets = secrets
        self._volumes = volumes

    async def check(self, who: Principal, spec: TaskSpec, in_sweep: int | None) -> None:
        """Raises ValidationFailed if the caller can't use all of them, StorageQuotaReached if a
        volume is full. `in_sweep`: see `Dependencies.fault`."""
        if spec.volumes:
            self._volumes.require(who.user, spec.volumes)
        if spec.secrets and (wrong_use := self._secrets.fault(who.user, spec.secrets)):
            raise ValidationFailed([FieldViolation("secrets", wrong_use)])
        if spec.dataset_specs and (
            fault := await self._datasets.fault(who.user, spec.dataset_specs)
        ):
            raise ValidationFailed([FieldViolation("dataset_specs", fault)])
        if spec.checkpoint_from is not None:
            await self._require_checkpoint(who, spec.checkpoint_from)
        if spec.after and (wrong := await self._dependencies.fault(who, spec, in_sweep)):
            raise ValidationFailed([wrong])
        if spec.environment is not None and (
            fault := await self._environments.fault(who.user, spec.snapshot_id, spec.environment)
        ):
            raise ValidationFailed([FieldViolation("environment", fault)])

    async def _require_checkpoint(self, who: Principal, task_id: str) -> None:
        """Raises ValidationFailed unless a task can begin with this one's checkpoint."""
        try:
            source = await self._tasks.get(who, task_id)
        except NotFound:
            source = None
        if (fault := checkpoint_source_fault(source)) is not None:
            raise ValidationFailed([FieldViolation("checkpoint_from", fault)])
