"""What an attempt runs with, put together while it is prepared."""

import platform

from fetchml import __version__
from fetchml.attempts.hosts import TaskHost, ThisHost
from fetchml.attempts.staging import StagedInputs
from fetchml.core.model import RanWith
from fetchml.ports.gpu import GpuInventory, GpuState
from fetchml.ports.launcher import ContainerImage, LaunchSpec


class HostFacts:
    def __init__(self, inventory: GpuInventory | None, host: TaskHost) -> None:
        self._inventory = inventory
        self._is_here = isinstance(host, ThisHost)
        self._name, self._kernel = platform.node(), platform.release()

    def describe(
        self, launch: LaunchSpec, inputs: StagedInputs, image: ContainerImage | None
    ) -> RanWith:
        """Describe an attempt that is prepared. Its node, on a cluster, is not known yet."""
        gpus = self._inventory.state if self._inventory is not None else GpuState()
        models = {each.uuid: each.name for each in gpus.gpus}
        has_gpu = self._is_here and bool(launch.gpu_ids)
        return RanWith(
            launch.attempt,
            host=self._name if self._is_here else None,
            kernel=self._kernel if self._is_here else None,
            release=__version__,
            image_id=image.id if image is not None else None,
            image_digest=image.digest if image is not None else None,
            environment=inputs.packages,
            datasets=inputs.used_datasets,
            gpus=tuple(models.get(uuid, "") for uuid in launch.gpu_ids) if has_gpu else (),
            driver=gpus.driver if has_gpu else None,
            cuda=gpus.cuda if has_gpu else None,
        )
