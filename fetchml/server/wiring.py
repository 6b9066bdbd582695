"""Chooses adapters and options by the settings."""

import logging
import os
import resource
import socket
import time
from collections.abc import Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec.structs import astuple

from fetchml.access.service import AccessOptions
from fetchml.adapters.duckdb.store import DuckDBStore
from fetchml.adapters.origins.fsspec import FsspecOrigin
from fetchml.adapters.origins.http import HttpOrigin
from fetchml.attempts.manager import AttemptSettings
from fetchml.auth.admission import Admission
from fetchml.auth.keyring import Keyring
from fetchml.auth.limits import RateLimiter
from fetchml.config import loader
from fetchml.config.address import Address
from fetchml.config.proxies import Proxies
from fetchml.config.settings import Settings
from fetchml.config.tls import BadCertificate, Certificate, configured_certificate
from fetchml.core.gpus.allocator import Placement
from fetchml.core.model import Resources
from fetchml.core.requests.text import shown
from fetchml.core.state import ClusterLimits, Limits
from fetchml.core.whatif.whatif import Changed
from fetchml.datasets.cache import DatasetCache
from fetchml.datasets.provider import DatasetProvider
from fetchml.engine.retention import RetentionSettings
from fetchml.engine.server_information import Examine, examine_nothing
from fetchml.errors import FieldViolation, ValidationFailed
from fetchml.files.folder_events import FolderEvents
from fetchml.files.kept_outputs import ANY_NUMBER, OutputLimits
from fetchml.files.layout import DATASETS, GATEWAY, JUPYTER
from fetchml.files.shared_disk import SharedFolders
from fetchml.files.storage_usage import MonitorSettings
from fetchml.files.task_users import FileOwners, OwnerPerUser, SharedOwner
from fetchml.jupyter.jupyter_service import JupyterOptions
from fetchml.jupyter.origin import LOOPBACK_HOSTS
from fetchml.ports.gpu import GpuInventory
from fetchml.ports.launcher import Launcher
from fetchml.ports.task_environment import GATEWAY_PORT
from fetchml.server.assembly import Options
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import jupyter_relay, on_cluster, tasks_folder
from fetchml.server.notification_wiring import notification_options
from fetchml.server.task_rules import dataset_addresses, idle_rule, packing_rule, submission_rules
from fetchml.snapshots.snapshot_service import SnapshotOptions
from fetchml.snapshots.unpack import UnpackLimits
from fetchml.system import capabilities
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
DISK_SHARE = 5
"""By default a user's files may take one part in this many of the disk."""


if TYPE_CHECKING:
    from fetchml.adapters.docker.container_config import ContainerLimits
    from fetchml.adapters.docker.container_gpus import GpuAddress


def certificate(settings: Settings) -> Certificate | None:
    """`None` without TLS. Raises CannotStart."""
    try:
        return configured_certificate(settings.server)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def store(settings: Settings) -> DuckDBStore:
    history = settings.history
    return DuckDBStore(
        settings.data_dir,
        time_zone=history.time_zone,
        min_free_bytes=history.min_free_mb << 20,
        journal_rows=history.journal_rows,
        audit_rows=history.audit_rows,
        usage_rows=history.usage_rows,
        keep_ms=history.keep_days * DAY_MS,
    )


def launcher(settings: Settings, watch: FolderEvents, inventory: GpuInventory | None) -> Launcher:
    """Import only the chosen launcher."""
    if isinstance(watch, SharedFolders):
        from fetchml.server.slurm_wiring import slurm_launcher  # noqa: PLC0415

        return slurm_launcher(settings, watch)
    if settings.server.launcher == "process":
        from fetchml.adapters.process.launcher import ProcessLauncher  # noqa: PLC0415

        return ProcessLauncher(settings.data_dir, watch)
    from fetchml.adapters.docker.launcher import DockerLauncher  # noqa: PLC0415
    from fetchml.adapters.docker.pull import Pulls  # noqa: PLC0415

    return DockerLauncher(
        settings.data_dir,
        network=settings.tasks.network,
        allow_metadata=settings.tasks.allow_metadata,
        pulls=Pulls(settings.tasks.pull, with_credentials=settings.tasks.registry_credentials),
        user=settings.tasks.user,
        limits=_container_limits(settings),
        address_of=partial(_gpu_address, inventory),
        gateway=settings.data_dir / GATEWAY if has_gateway(settings) else None,
    )


def _container_limits(settings: Settings) -> "ContainerLimits":
    from fetchml.adapters.docker.container_config import ContainerLimits  # noqa: PLC0415

    tasks, resources = settings.tasks, settings.resources
    return ContainerLimits(
        cpu=tasks.max_cpu or resources.cpu,
        memory_gb=tasks.max_memory_gb or resources.memory_gb,
        pids=tasks.pids,
        tmp_mb=tasks.tmp_mb,
        shm_mb=tasks.shm_mb,
    )


def owners(settings: Settings, store: DuckDBStore, launcher: Launcher) -> FileOwners:
    """One uid for each user if this server may give files away; on a cluster those of the users'
    accounts."""
    if on_cluster(settings):
        from fetchml.server.slurm_accounts import account_owners  # noqa: PLC0415

        return account_owners(settings.slurm, launcher.owner)
    in_containers = settings.server.launcher == "docker"
    if in_containers and settings.tasks.user == "auto" and capabilities.may_hand_over():
        return OwnerPerUser(store, settings.tasks.first_uid)
    return SharedOwner(launcher.owner)


def gpu_inventory(settings: Settings) -> GpuInventory | None:
    """`None` if the settings name plain slots, or if the GPUs are a cluster's."""
    if settings.gpu.slots or on_cluster(settings):
        return None
    from fetchml.adapters.nvml.inventory import NvmlInventory  # noqa: PLC0415

    return NvmlInventory()


def _gpu_address(inventory: GpuInventory | None, uuid: str) -> "GpuAddress | None":
    """Return the GPU's current address; `None` if NVML does not find it."""
    readings = inventory.state.readings if inventory is not None else ()
    reading = next((each for each in readings if each.uuid == uuid), None)
    if reading is None or reading.lost is not None:
        return None
    from fetchml.adapters.docker.container_gpus import GpuAddress  # noqa: PLC0415 - for Docker only

    return GpuAddress(reading.index, reading.minor)


def _user_storage_bytes(settings: Settings) -> int:
    """Most bytes of one user's files; 0: no limit. Raises OSError."""
    wanted = settings.quotas.user_storage_gb
    if wanted is not None:
        return wanted << 30
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    return max(1 << 30, disk.f_blocks * disk.f_frsize // DISK_SHARE)


def watch_settings(settings: Settings) -> MonitorSettings:
    return MonitorSettings(settings.data_dir, settings.history.min_free_mb << 20)


def retention_settings(settings: Settings) -> RetentionSettings:
    return RetentionSettings(
        settings.history.keep_days * DAY_MS, settings.tasks.outputs_keep_days * DAY_MS
    )


def _snapshot_options(settings: Settings) -> SnapshotOptions:
    snapshots = settings.snapshots
    return SnapshotOptions(
        UnpackLimits(snapshots.max_bytes, snapshots.max_files),
        keep_ms=snapshots.keep_days * DAY_MS,
        private=settings.auth.private,
    )


def datasets(settings: Settings) -> DatasetProvider:
    """Raises CannotStart."""
    datasets, data_dir = settings.datasets, settings.data_dir.resolve()
    if datasets.root is not None:
        root = datasets.root.resolve()
        if root.is_relative_to(data_dir) or data_dir.is_relative_to(root):
            raise CannotStart(
                f"[datasets] root {root} and the data directory {data_dir} lie in one another: "
                "tasks could read the server's files. Choose another folder for one of them"
            )
    http = HttpOrigin(dataset_addresses(settings), frozenset(datasets.allow))
    others = FsspecOrigin()
    cache = DatasetCache(
        (tasks_folder(settings).resolve() if on_cluster(settings) else data_dir) / DATASETS,
        most_bytes=datasets.cache_bytes,
        min_free_bytes=settings.history.min_free_mb << 20,
    )
    origins = {
        scheme: http if scheme in ("http", "https") else others
        for scheme in datasets.allow
        if scheme != "file"
    }
    return DatasetProvider(datasets.root, cache, origins)


def _workspaces_root(settings: Settings) -> Path:
    """Raises CannotStart."""
    data_dir = settings.data_dir.resolve()
    own = tasks_folder(settings).resolve() / JUPYTER
    if settings.jupyter.root is None:
        return own
    root = settings.jupyter.root.resolve()
    others = {"the data directory": data_dir}
    if on_cluster(settings):
        others["[slurm] shared_dir"] = tasks_folder(settings).resolve()
    if settings.datasets.root is not None:
        others["[datasets] root"] = settings.datasets.root.resolve()
    for name, other in others.items():
        apart = not (root.is_relative_to(other) or other.is_relative_to(root))
        if not (apart or root.is_relative_to(own)):
            raise CannotStart(
                f"[jupyter] root {root} and {name} {other} lie in one another: users of "
                "Jupyter could change the server's files. Choose another folder for one of them"
            )
    return root


def _jupyter_options(
    settings: Settings, http_port: int, jupyter_port: int | None
) -> JupyterOptions:
    """Raises CannotStart."""
    if jupyter_port is not None:
        _check_jupyter_listener(settings, http_port, jupyter_port)
    return JupyterOptions(
        images=settings.jupyter.images,
        idle_ms=settings.jupyter.idle_seconds * 1000,
        private=settings.auth.private,
        allow_images=settings.tasks.allow_images,
        has_containers=settings.slurm.container != "none"
        if on_cluster(settings)
        else settings.server.launcher == "docker",
        relay=jupyter_relay(settings),
        relay_ports=settings.slurm.relay_ports,
        public_url=public_url(settings, http_port),
        command=settings.jupyter.command,
        domain=settings.jupyter.domain,
        port=jupyter_port,
        loopback=_is_loopback(settings),
        shared=settings.jupyter.shared,
    )


def _check_jupyter_listener(settings: Settings, http_port: int, jupyter_port: int) -> None:
    """Raises CannotStart."""
    server = settings.server
    if settings.jupyter.domain is not None:
        raise CannotStart(
            "[jupyter] domain and [jupyter] http both give services an origin: set one of them"
        )
    if jupyter_port == http_port:
        raise CannotStart("[jupyter] http and [server] http need different ports: change one")
    if server.tls_cert is None and (server.public_url or "").startswith("https:"):
        raise CannotStart(
            "[jupyter] http has no TLS, and [server] public_url shows that a proxy adds it to the "
            "other listener: set [jupyter] domain instead"
        )


def _is_loopback(settings: Settings) -> bool:
    """Return whether browsers on this host reach the server as localhost, without TLS."""
    url, host = settings.server.public_url, settings.server.http.host
    if url is None:
        listens = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}  # noqa: S104
        return settings.server.tls_cert is None and host in listens
    return url.startswith("http:") and urlsplit(url).netloc.partition(":")[0] in LOOPBACK_HOSTS


def public_url(settings: Settings, port: int) -> str:
    """Return the server's URL for browsers, without a final slash. Raises CannotStart."""
    url = _public_url(settings, port)
    host, domain = urlsplit(url).hostname or "", settings.jupyter.domain
    if domain is not None and host.endswith(domain.removeprefix("*")):
        raise CannotStart(
            f"The server's own address {url} lies below [jupyter] domain {domain}, where only "
            "Jupyter services are served. Choose another domain, or set [server] public_url"
        )
    return url


def _public_url(settings: Settings, port: int) -> str:
    if settings.server.public_url is not None:
        return settings.server.public_url.rstrip("/")
    host = settings.server.http.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - nothing listens here
        host = socket.gethostname()
    scheme = "http" if settings.server.tls_cert is None else "https"
    return f"{scheme}://{Address(host, port)}"


def has_gateway(settings: Settings) -> bool:
    """Return whether tasks reach the server through a socket that their containers get. With the
    host's network they reach it as the host does."""
    in_containers = settings.server.launcher == "docker" and settings.tasks.network != "host"
    return settings.tracking.enabled and in_containers


def _task_url(settings: Settings, port: int) -> str | None:
    """Return the server's URL for tasks, without a final slash; `None` if they cannot reach it, or
    shall not log. Raises CannotStart."""
    server = settings.server
    if not settings.tracking.enabled:
        return None
    if has_gateway(settings):
        return f"http://127.0.0.1:{GATEWAY_PORT}"
    if on_cluster(settings):
        if server.public_url is None and server.http.is_loopback:
            log.warning(
                "Tasks cannot log to the server: the nodes cannot reach %s. Set [server] "
                "public_url, or listen on another address",
                server.http,
            )
            return None
        return public_url(settings, port)
    if server.tls_cert is not None:
        return public_url(settings, port)
    host = server.http.host
    return f"http://{Address('127.0.0.1' if host in {'0.0.0.0', '::'} else host, port)}"  # noqa: S104


def _capacity(settings: Settings) -> Resources:
    return Resources(
        cpu=settings.resources.cpu,
        memory_gb=settings.resources.memory_gb,
        gpu=0 if on_cluster(settings) else settings.gpu.slots,
    )


def options(
    settings: Settings,
    http_port: int,
    jupyter_port: int | None = None,
    examine: Examine = examine_nothing,
) -> Options:
    """`http_port`: where REST listens. `jupyter_port`: where Jupyter services do; `None` if there
    too. `examine`: the checks of `fetchml doctor`. Raises CannotStart, OSError."""
    tasks = settings.tasks
    return Options(
        data_dir=settings.data_dir,
        tasks_dir=tasks_folder(settings),
        limits=_limits(settings),
        limits_with=partial(limits_with, settings),
        rules=submission_rules(settings),
        runs=AttemptSettings(
            grace_ms=tasks.grace_seconds * 1000,
            # The shim keeps the newest two segments.
            log_segment_bytes=tasks.log_bytes // 2,
            outputs=OutputLimits(tasks.outputs_files, tasks.outputs_mb << 20 or ANY_NUMBER),
        ),
        snapshots=_snapshot_options(settings),
        jupyter=_jupyter_options(settings, http_port, jupyter_port),
        workspaces=_workspaces_root(settings),
        private=settings.auth.private,
        zone=settings.history.time_zone,
        user_storage_bytes=_user_storage_bytes(settings),
        samples=settings.history.usage_rows > 0,
        access=AccessOptions(*astuple(settings.access)),
        notifications=notification_options(settings, public_url(settings, http_port)),
        examine=examine,
        task_url=_task_url(settings, http_port),
        reads_metrics=settings.tracking.enabled,
    )


REPLAYED = (
    "gpu.placement",
    "gpu.slots_per_gpu",
    "quotas.user_gpus",
    "quotas.user_running",
    "resources.cpu",
    "resources.memory_gb",
    "scheduling.half_life",
    "scheduling.preemption",
    "tasks.max_running",
    "tasks.reserve_after",
)
"""Settings that a replay may change."""


def limits_with(
    settings: Settings, changes: Mapping[str, str]
) -> tuple[Limits, tuple[Changed, ...]]:
    """Return the limits with other settings, and what differs. Raises ValidationFailed."""
    changed: list[Changed] = []
    wrong: list[FieldViolation] = []
    for name, text in changes.items():
        try:
            if name not in REPLAYED:
                known = ", ".join(REPLAYED)
                raise loader.ConfigError(
                    f"unknown setting {shown(name, 80)}; expected one of {known}"
                )
            before, settings = settings, loader.change(settings, name, text)
        except loader.ConfigError as error:
            wrong.append(FieldViolation("settings", shown(str(error), 500)))
            continue
        was, now = (str(attrgetter(name)(each)).lower() for each in (before, settings))
        if was != now:
            changed.append(Changed(name, was, now))
    if wrong:
        raise ValidationFailed(wrong)
    return _limits(settings), tuple(changed)


def _limits(settings: Settings) -> Limits:
    return Limits(
        _capacity(settings),
        max_running=settings.tasks.max_running,
        reserve_after_ms=settings.tasks.reserve_after * 1000,
        worker_id=socket.gethostname(),
        slots_per_gpu=settings.gpu.slots_per_gpu,
        placement=Placement(settings.gpu.placement),
        half_life_ms=settings.scheduling.half_life * 1000,
        user_gpus=settings.quotas.user_gpus,
        user_running=settings.quotas.user_running,
        user_queued=settings.quotas.user_queued,
        user_queued_bytes=settings.quotas.user_queued_mb << 20,
        preemption=settings.scheduling.preemption,
        prestage=settings.scheduling.ahead,
        idle=idle_rule(settings.gpu),
        packing=None if on_cluster(settings) else packing_rule(settings.gpu),
        cluster=ClusterLimits(settings.slurm.max_pending, settings.slurm.user_max_pending)
        if on_cluster(settings)
        else None,
    )


def max_connections(settings: Settings) -> int:
    """Return the most connections of HTTP, and of gRPC, which briefly accepts twice as many.

    Each gets at most a fifth of the files that the process may open; the rest is for everything
    else.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(settings.server.max_connections, files // 5)


async def keyring(store: DuckDBStore, clock: Clock, ids: IdSequence) -> Keyring:
    keyring = Keyring(store, clock_ms=clock, new_id=lambda: ids.next(clock()))
    await keyring.load()
    return keyring


def admission(settings: Settings, keyring: Keyring) -> Admission:
    limit = settings.rate_limit
    limiter = RateLimiter(limit.per_second, limit.burst) if limit.enabled else None
    proxies = Proxies(settings.server.trusted_proxies)
    return Admission(keyring, time.monotonic, limiter=limiter, proxies=proxies)
