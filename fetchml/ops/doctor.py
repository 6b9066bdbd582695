"""`fetchml doctor`: what works on this host, what does not, and how to fix it."""

from collections.abc import Iterator
from pathlib import Path

from fetchml.config.settings import Settings
from fetchml.files.data_dir import is_taken
from fetchml.ops.checks import data, gpus, launcher, limits
from fetchml.ops.checks.check import Check
from fetchml.ports.gpu import GpuState


def examine(settings: Settings, *, probe: bool = False) -> Iterator[Check]:
    """Run all checks, one after the other. None changes anything. `probe`: run a job on a node of
    the cluster too."""
    running = _running(settings.data_dir)
    yield data.data_dir(settings.data_dir)
    yield data.admin_key(settings.data_dir)
    yield data.disk(settings)
    yield from data.volumes(settings)
    yield data.port("http port", settings.server.http, running=running)
    yield data.port("grpc port", settings.server.grpc, running=running)
    yield data.tls(settings)
    yield data.clock(settings.data_dir)
    yield limits.open_files()
    yield limits.inotify()
    yield limits.resources(settings)
    yield limits.task_limits(settings)
    yield limits.memory(settings)
    found = gpus.inventory()
    yield from gpus.gpus(settings, found)
    yield launcher.shim_runs()
    if settings.server.launcher == "docker":
        yield from launcher.docker(settings, found)
    elif settings.server.launcher == "slurm":
        from fetchml.ops.checks import cluster  # noqa: PLC0415 - for clusters only

        yield from cluster.cluster(settings)
        if probe:
            from fetchml.ops.checks import cluster_probe  # noqa: PLC0415 - for clusters only

            yield from cluster_probe.probe(settings)
    else:
        yield Check("launcher", "process: tasks run without isolation")


def examine_running(settings: Settings, found: GpuState | None) -> Iterator[Check]:
    """Run the checks that make sense within the running server. `found`: the GPUs of its inventory;
    `None` if it has plain slots."""
    yield data.data_dir(settings.data_dir)
    yield data.admin_key(settings.data_dir)
    yield data.disk(settings)
    yield from data.volumes(settings)
    yield data.tls(settings)
    yield data.clock(settings.data_dir)
    yield limits.open_files()
    yield limits.inotify()
    yield limits.resources(settings)
    yield limits.task_limits(settings)
    yield limits.memory(settings)
    if found is not None:
        yield from gpus.gpus(settings, found)
    if settings.server.launcher == "docker":
        yield from launcher.docker(settings, found or GpuState())
    elif settings.server.launcher == "slurm":
        from fetchml.ops.checks import cluster  # noqa: PLC0415 - for clusters only

        yield from cluster.cluster(settings)
    else:
        yield Check("launcher", "process: tasks run without isolation")


def _running(data_dir: Path) -> bool:
    try:
        return is_taken(data_dir)
    except OSError:
        return False  # Another check reports the reason.
