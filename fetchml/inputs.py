"""What a task needs beside its image, put in its place before the launcher makes it ready."""

from collections.abc import Callable
from pathlib import Path

from fetchml.attempt import AttemptFolder
from fetchml.core.model import Task
from fetchml.ports import Mount, PrepareError


class Inputs:
    """The one place that provides tasks with their snapshots and datasets."""

    def __init__(self, datasets_root: Path | None) -> None:
        self._datasets_root = datasets_root

    async def provide(
        self, task: Task, folder: AttemptFolder, progress: Callable[[str], None]
    ) -> tuple[Mount, ...]:
        """Have everything ready for an attempt, and say what its launcher has to mount.

        May be called again for one attempt, also by a later server while its shim waits already:
        what is in place then stays as it is. `progress` is told short sentences, in the event
        loop. Once it is cancelled, nothing writes to the attempt's folder any more. Raises
        PrepareError.
        """
        spec = task.spec
        if spec.snapshot_id is not None:
            raise PrepareError(f"there is no snapshot {spec.snapshot_id!r} here", permanent=True)
        if spec.dataset_specs:
            message = "this release fetches no dataset_specs: name datasets that the server has"
            raise PrepareError(message, permanent=True)
        return tuple(self._dataset(name) for name in spec.datasets or ())

    def _dataset(self, name: str) -> Mount:
        root = self._datasets_root
        if root is None:
            message = f"dataset {name!r}: the server has no datasets ([datasets] root is not set)"
            raise PrepareError(message, permanent=True)
        source = (root / name).resolve()
        if not source.is_dir() or not source.is_relative_to(root.resolve()):
            raise PrepareError(f"there is no dataset {name!r} here", permanent=True)
        return Mount(source, f"/data/{name}", read_only=True)
