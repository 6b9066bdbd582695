"""`fetchml doctor`: what works on this host, what does not, and how to fix it."""

from collections.abc import Iterator
from pathlib import Path

from fetchml.config.settings import Settings
from fetchml.files.data_dir import is_taken
from fetchml.ops.checks import data, gpus, launcher, limits
from fetchml.ports.gpu import GpuState
from fetchml.views import Finding


def examine(settings: Settings, *, probe: bool = False) -> Iterator[Finding]:
    """Run all checks, one after the other. None changes anything. `probe`: run a job on a node of
    the cluster too."""
    running = _running(settings.data_dir)
    yield from _host(settings)
    yield data.port("http port", settings.server.http, running=running)
    yield data.port("grpc port", settings.server.grpc, running=running)
    found = gpus.inventory()
    yield from gpus.gpus(settings, found)
    yield launcher.shim_runs()
    yield from _launcher(settings, found)
    if probe:
        from fetchml.ops.checks import cluster_probe, cluster_users  # noqa: PLC0415 - for clusters only

        yield from cluster_probe.probe(settings)
        yield from cluster_users.probe(settings)


def examine_running(settings: Settings, found: GpuState | None) -> Iterator[Finding]:
    """Run the checks that make sense within the running server. `found`: the GPUs of its inventory;
    `None` if it has plain slots."""
    yield from _host(settings)
    if found is not None:
        yield from gpus.gpus(settings, found)
    yield from _launcher(settings, found or GpuState())


def _host(settings: Settings) -> Iterator[Finding]:
    yield data.data_dir(settings.data_dir)
    yield data.admin_key(settings.data_dir)
    yield data.disk(settings)
    yield from data.volumes(settings)
    yield data.tls(settings)
    yield data.grpc_network(settings.server.grpc)
    yield data.clock(settings.data_dir)
    yield limits.open_files()
    yield limits.inotify()
    yield limits.resources(settings)
    yield limits.task_limits(settings)


def _launcher(settings: Settings, found: GpuState) -> Iterator[Finding]:
    match settings.server.launcher:
        case "docker":
            yield from launcher.docker(settings, found)
        case "slurm":
            from fetchml.ops.checks import cluster  # noqa: PLC0415 - for clusters only

            yield from cluster.cluster(settings)
        case _:
            yield Finding("launcher", "process: tasks run without isolation")


def _running(data_dir: Path) -> bool:
    try:
        return is_taken(data_dir)
    except OSError:
        return False  # Another check reports the reason.
