"""`fetchml doctor`: what works on this host, what does not, and how to fix it."""

from collections.abc import Iterator
from pathlib import Path

from fetchml.config.settings import Settings
from fetchml.files.data_dir import is_taken
from fetchml.ops.checks import host, launcher
from fetchml.ports.gpu import GpuState
from fetchml.views import Finding


def examine(settings: Settings, *, probe: bool = False) -> Iterator[Finding]:
    """Run all checks, one after the other. None changes anything. `probe`: run a job on a node of
    the cluster too."""
    running = _running(settings.data_dir)
    yield from _host(settings)
    yield host.port("http port", settings.server.http, running=running)
    yield host.port("grpc port", settings.server.grpc, running=running)
    gpu_state = host.inventory()
    yield from host.gpus(settings, gpu_state)
    yield launcher.shim_runs()
    yield from _launcher(settings, gpu_state)
    if probe:
        from fetchml.ops.checks import cluster_probe  # noqa: PLC0415 - for clusters only

        yield from cluster_probe.probe(settings)


def examine_running(settings: Settings, gpu_state: GpuState | None) -> Iterator[Finding]:
    """Run the checks that make sense within the running server. `gpu_state`: the GPUs of its
    inventory; `None` if it has plain slots."""
    yield from _host(settings)
    if gpu_state is not None:
        yield from host.gpus(settings, gpu_state)
    yield from _launcher(settings, gpu_state or GpuState())


def _host(settings: Settings) -> Iterator[Finding]:
    yield host.data_dir(settings.data_dir)
    yield host.admin_key(settings.data_dir)
    yield host.disk(settings)
    yield from host.volumes(settings)
    yield host.tls(settings)
    yield host.grpc_network(settings.server.grpc)
    yield host.clock(settings.data_dir)
    yield host.open_files()
    yield host.inotify()
    yield host.resources(settings)
    yield host.task_limits(settings)


def _launcher(settings: Settings, gpu_state: GpuState) -> Iterator[Finding]:
    match settings.server.launcher:
        case "docker":
            yield from launcher.docker(settings, gpu_state)
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
