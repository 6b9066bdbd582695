"""What a task needs beside its image: where it lies on this machine."""

from pathlib import Path

from fetchml.core.model import TaskSpec
from fetchml.ports import Mount, PrepareError


def dataset_mounts(spec: TaskSpec, root: Path | None) -> tuple[Mount, ...]:
    """The named datasets, to be mounted read-only. Raises PrepareError."""
    if spec.snapshot_id is not None:
        raise PrepareError(f"there is no snapshot {spec.snapshot_id!r} here", permanent=True)
    if spec.dataset_specs:
        message = "this release fetches no dataset_specs: name datasets that the server has"
        raise PrepareError(message, permanent=True)
    mounts = []
    for name in spec.datasets or ():
        if root is None:
            message = f"dataset {name!r}: the server has no datasets ([datasets] root is not set)"
            raise PrepareError(message, permanent=True)
        source = (root / name).resolve()
        if not source.is_dir() or not source.is_relative_to(root.resolve()):
            raise PrepareError(f"there is no dataset {name!r} here", permanent=True)
        mounts.append(Mount(source, f"/data/{name}", read_only=True))
    return tuple(mounts)
