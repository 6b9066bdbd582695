"""Datasets, other tasks and packages that a request names."""

from fetchml.core.model import Principal, TaskSpec
from fetchml.core.requests.mounts.checkpoint import source_fault
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.tasks.dependencies import Dependencies
from fetchml.engine.tasks.visible import VisibleTasks
from fetchml.environments.service import Environments
from fetchml.errors import FieldViolation, NotFound, ValidationFailed


class Sources:
    """Used from one event loop."""

    def __init__(
        self,
        datasets: DatasetProvider,
        visible: VisibleTasks,
        dependencies: Dependencies,
        environments: Environments,
    ) -> None:
        self._datasets = datasets
        self._visible = visible
        self._dependencies = dependencies
        self._environments = environments

    async def check(self, who: Principal, spec: TaskSpec, in_sweep: int | None) -> None:
        """Raises ValidationFailed if the caller can't use all of them. `in_sweep`: see
        `Dependencies.fault`."""
        if spec.dataset_specs and (fault := await self._datasets.fault(spec.dataset_specs)):
            raise ValidationFailed([FieldViolation("dataset_specs", fault)])
        if spec.checkpoint_from is not None:
            await self._require_checkpoint(who, spec.checkpoint_from)
        if spec.after and (wrong := await self._dependencies.fault(who, spec, in_sweep)):
            raise ValidationFailed([wrong])
        if spec.environment is not None and (
            fault := await self._environments.fault(spec.snapshot_id, spec.environment)
        ):
            raise ValidationFailed([FieldViolation("environment", fault)])

    async def _require_checkpoint(self, who: Principal, task_id: str) -> None:
        """Raises ValidationFailed unless a task can begin with this one's checkpoint."""
        try:
            source = await self._visible.get(who, task_id)
        except NotFound:
            source = None
        if (fault := source_fault(source)) is not None:
            raise ValidationFailed([FieldViolation("checkpoint_from", fault)])
