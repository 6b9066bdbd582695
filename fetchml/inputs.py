"""What a task needs beside its image, put in its place before the launcher makes it ready."""

from collections.abc import Callable
from pathlib import Path

from fetchml.attempt import AttemptFolder
from fetchml.core.model import Task
from fetchml.ports import Mount, Owner, PrepareError
from fetchml.snapshots import Snapshots


class Inputs:
    """The one place that provides tasks with their snapshots and datasets."""

    def __init__(self, snapshots: Snapshots, datasets_root: Path | None, owner: Owner) -> None:
        """`owner`: whom a task's files must belong to."""
        self._snapshots = snapshots
        self._owner = owner
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
            progress("copying the snapshot")
            await self._snapshots.copy(task.user, spec.snapshot_id, folder.workspace, self._owner)
        if spec.dataset_specs:
            message = "this release fetches no dataset_specs: name datasets that the server has"
            raise PrepareError(message, permanent=True)
        return tuple(self._dataset(name) for name in spec.datasets or ())

    def project_text(self, user: str, snapshot_id: object) -> str | None:
        """The fetchml.toml of what a request names as its snapshot, whatever that is."""
        if not isinstance(snapshot_id, str):
            return None
        return self._snapshots.project_text(user, snapshot_id)

    def _dataset(self, name: str) -> Mount:
        root = self._datasets_root
        if root is None:
            message = f"dataset {name!r}: the server has no datasets ([datasets] root is not set)"
            raise PrepareError(message, permanent=True)
        source = (root / name).resolve()
        if not source.is_dir() or not source.is_relative_to(root.resolve()):
            raise PrepareError(f"there is no dataset {name!r} here", permanent=True)
        return Mount(source, f"/data/{name}", read_only=True)
