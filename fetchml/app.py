"""The server as a whole: the one place where parts are chosen, wired, started and ended."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from google.protobuf.message import Message

from fetchml import sd_notify
from fetchml.access import Admission, BadAdminKey, Keyring, ensure_admin
from fetchml.adapters.data_dir import DataDirBusy, lock_data_dir, write_durably
from fetchml.adapters.docker_gpus import AddressOf, GpuAddress
from fetchml.adapters.docker_launcher import DockerLauncher
from fetchml.adapters.duckdb_store import DuckDBStore
from fetchml.adapters.fsspec_origin import FsspecOrigin
from fetchml.adapters.http_origin import HttpOrigin
from fetchml.adapters.jupyter_client import HttpJupyterClient
from fetchml.adapters.nvml import NvmlInventory
from fetchml.adapters.process_launcher import ProcessLauncher
from fetchml.api.grpc_calls import Call
from fetchml.api.grpc_keys import KeyService
from fetchml.api.grpc_server import GrpcServer
from fetchml.api.http import HttpServer, HttpTimeouts
from fetchml.attempt_runs import RunSettings
from fetchml.audit import Audit
from fetchml.clock import Clock
from fetchml.config import Address, Settings
from fetchml.control import control_socket
from fetchml.core.allocator import Placement
from fetchml.core.dataset import AddressRules
from fetchml.core.model import Resources
from fetchml.core.state import Limits
from fetchml.core.submission import Defaults
from fetchml.dataset_cache import DatasetCache
from fetchml.datasets import Datasets
from fetchml.engine import Engine, EngineSettings
from fetchml.experiments import Experiments
from fetchml.folder_watch import FolderWatch
from fetchml.gpus import Gpus
from fetchml.ids import IdSequence
from fetchml.inputs import Inputs
from fetchml.jupyter_services import JupyterServices, JupyterSettings
from fetchml.keys import Keys
from fetchml.ports import Launcher, StoreDamaged
from fetchml.rate_limit import RateLimiter
from fetchml.snapshot_files import SnapshotFiles
from fetchml.snapshots import Snapshots, SnapshotSettings
from fetchml.store_copy import StoreCopies
from fetchml.tls import BadCertificate, Certificate
from fetchml.unpack import UnpackLimits
from fetchml.workspaces import Workspaces

REQUESTS_FINISH_SECONDS = 4
"""How long requests have to be answered when the server is asked to stop."""
DRAIN_SECONDS = 9
"""When everything must have ended after that."""
OPEN_FILES = 1 << 20
YOUNG_OBJECTS = 20_000
"""What requests under way hold at one time; with the usual 700, each few requests a collection
passes through all of it."""

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The message says why, and what to do."""


def serve(settings: Settings, admin_key: str | None) -> None:
    """Run the server until SIGTERM or SIGINT. `admin_key`: see `ensure_admin`.

    Raises CannotStart. Ends the process with code 1 when the store fails.
    """
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))
    with _start_errors():
        uvloop.run(_serve(settings, admin_key))


async def manage_keys(data_dir: Path, method: str, request: Message) -> Message:
    """A call of KeyService, by the owner, on a data directory whose server does not run.

    Raises CannotStart, RequestError.
    """
    with _start_errors():
        store = _store(Settings(data_dir=data_dir))
        await store.open(recent_limit=0, on_durable=lambda _: None, on_fatal=_end_at_once)
    try:
        keys = Keys(await _keyring(store), Audit(store, clock_ms=Clock()))
        service = KeyService(keys)
        answer: Message = await getattr(service, method)(request, Call(Admission.local, {}))
        return answer
    finally:
        await store.close()


@contextlib.contextmanager
def _start_errors() -> Iterator[None]:
    try:
        yield
    except (DataDirBusy, StoreDamaged, BadAdminKey, OSError) as error:
        raise CannotStart(str(error)) from error


async def _serve(settings: Settings, admin_key: str | None) -> None:
    asked_to_stop = _stop_signals()
    async with AsyncExitStack() as stack:
        data_dir = settings.data_dir
        # Whose data directory it is comes first: its server has these ports too.
        lock_data_dir(data_dir).release()
        for address in (settings.server.http, settings.server.grpc):
            _require_free(address)
        certificate = _certificate(settings)
        watch = await stack.enter_async_context(FolderWatch())
        store = _store(settings)
        audit = Audit(store, clock_ms=Clock())
        snapshots = Snapshots(
            store,
            SnapshotFiles(data_dir),
            _snapshot_settings(settings),
            audit=audit,
            named=lambda user: engine.named_snapshots(user) | experiments.named_snapshots(user),
        )
        experiments = Experiments(
            store, audit, private=settings.auth.private, snapshot_exists=snapshots.exists
        )
        launcher = _launcher(settings, watch, address_of=lambda uuid: _address(gpus, uuid))
        gpus = _gpus(settings, store, audit, launcher)
        engine = Engine(
            store,
            launcher,
            Inputs(
                snapshots,
                _datasets(settings),
                launcher.owner,
                workspace_of=lambda task: jupyter.workspace_of(task),  # noqa: PLW0108 - made below
            ),
            watch,
            _engine_settings(settings),
            gpus=gpus,
            takes_tasks=experiments.takes_tasks,
            audit=audit,
            on_fatal=_end_at_once,
        )
        jupyter = JupyterServices(
            store,
            engine.services,
            Workspaces(store, _workspaces_root(settings), launcher.owner),
            HttpJupyterClient(),
            watch,
            _jupyter_settings(settings),
            audit=audit,
        )
        await engine.start()
        stack.push_async_callback(engine.close)
        await snapshots.load()
        await experiments.load()
        await jupyter.load()
        await stack.enter_async_context(snapshots.upkeep())
        await stack.enter_async_context(jupyter.supervised())
        keyring = await _keyring(store)
        await stack.enter_async_context(keyring.saving_use())
        await _show_first_key(keyring, data_dir, admin_key)
        admission = _admission(settings, keyring)
        copies = StoreCopies(store, data_dir, admission.local)
        copies.remove_left_over()
        rpc = GrpcServer(
            engine,
            experiments,
            snapshots,
            jupyter,
            gpus,
            admission,
            Keys(keyring, audit),
            audit,
            copies=copies,
        )
        rest = HttpServer(
            engine,
            experiments,
            snapshots,
            jupyter,
            gpus,
            admission,
            audit,
            HttpTimeouts(streams_close=2, requests_finish=REQUESTS_FINISH_SECONDS),
        )
        control = stack.enter_context(control_socket(data_dir))
        stack.push_async_callback(_stop_transports, rest, rpc)
        listen = settings.server.http
        jupyter.public_url = _public_url(settings, listen.port)
        http_port = await rest.start(listen.host, listen.port, certificate)
        jupyter.public_url = _public_url(settings, http_port)
        grpc_port = await rpc.start(str(settings.server.grpc), control, certificate)
        http = Address(settings.server.http.host, http_port)
        grpc = Address(settings.server.grpc.host, grpc_port)
        if certificate is None:
            _warn_if_open(http, grpc)
        alive = _tell_ready(http, grpc, data_dir)
        await asked_to_stop.wait()
        log.info("shutting down; running tasks go on")
        sd_notify.tell("STOPPING=1")
        # A thread's timer: it counts on when the event loop or the interpreter's end is stuck.
        last_resort = threading.Timer(DRAIN_SECONDS, _give_up_waiting)
        last_resort.daemon = True
        last_resort.start()
        await engine.drain()
        alive.cancel()


def _tell_ready(http: Address, grpc: Address, data_dir: Path) -> asyncio.Task[None]:
    """The task that tells systemd that the event loop is alive."""
    # What lives now lives on: no collection need pass through it again (50 ms each time).
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    print(f"ready http={http} grpc={grpc}", flush=True)  # for scripts
    alive = sd_notify.ready()
    log.info("ready", extra={"http": http, "grpc": grpc, "data_dir": data_dir})
    return alive


async def _stop_transports(rest: HttpServer, rpc: GrpcServer) -> None:
    await asyncio.gather(
        rest.stop("the server is shutting down"), rpc.stop(REQUESTS_FINISH_SECONDS)
    )


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT. The second ends the process: all that was acknowledged
    is on disk."""
    asked = asyncio.Event()

    def stop(number: int) -> None:
        if asked.is_set():
            log.warning("ended at once by a second signal")
            _exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return asked


def _require_free(address: Address) -> None:
    """Asked before any task is started. Raises CannotStart."""
    try:
        address.probe()
    except OSError as error:
        raise CannotStart(
            f"can't listen on {address}: {error.strerror}. Stop what uses it, or choose another "
            "address with --http or --grpc"
        ) from error


def _certificate(settings: Settings) -> Certificate | None:
    """None: without TLS. Raises CannotStart."""
    certificate, key = settings.server.tls_cert, settings.server.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise CannotStart("set both [server] tls_cert and tls_key, or neither")
    try:
        return Certificate(certificate, key)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def _store(settings: Settings) -> DuckDBStore:
    history = settings.history
    return DuckDBStore(
        settings.data_dir,
        time_zone=history.time_zone,
        min_free_bytes=history.min_free_mb << 20,
        journal_rows=history.journal_rows,
        audit_rows=history.audit_rows,
    )


def _launcher(settings: Settings, watch: FolderWatch, address_of: AddressOf) -> Launcher:
    if settings.server.launcher == "process":
        return ProcessLauncher(settings.data_dir, watch)
    return DockerLauncher(
        settings.data_dir,
        network=settings.tasks.network,
        user=settings.tasks.user,
        address_of=address_of,
    )


def _gpus(settings: Settings, store: DuckDBStore, audit: Audit, launcher: Launcher) -> Gpus:
    def owner_of(pid: int) -> str | None:
        task_id = launcher.owner_of(pid)
        return task_id if task_id is not None and gpus.has_processes(task_id) else None

    inventory = None if settings.gpu.slots else NvmlInventory(owner_of)
    gpus = Gpus(store, audit, inventory, private=settings.auth.private)
    return gpus


def _address(gpus: Gpus, uuid: str) -> GpuAddress | None:
    """Where NVML finds it now."""
    reading = gpus.reading(uuid)
    if reading is None or reading.lost is not None:
        return None
    return GpuAddress(reading.index, reading.minor)


def _snapshot_settings(settings: Settings) -> SnapshotSettings:
    snapshots = settings.snapshots
    return SnapshotSettings(
        UnpackLimits(snapshots.max_bytes, snapshots.max_files),
        keep_ms=snapshots.keep_days * 86_400_000,
        private=settings.auth.private,
    )


def _datasets(settings: Settings) -> Datasets:
    """Raises CannotStart."""
    datasets, data_dir = settings.datasets, settings.data_dir.resolve()
    if datasets.root is not None:
        root = datasets.root.resolve()
        if root.is_relative_to(data_dir) or data_dir.is_relative_to(root):
            raise CannotStart(
                f"[datasets] root {root} and the data directory {data_dir} lie in one another: "
                "tasks could read what the server keeps. Choose another folder for one of them"
            )
    hosts = frozenset(host.lower() for host in datasets.allow_hosts)
    http = HttpOrigin(AddressRules(datasets.allow_private, hosts), frozenset(datasets.allow))
    others = FsspecOrigin()
    cache = DatasetCache(
        data_dir / "datasets",
        most_bytes=datasets.cache_bytes,
        min_free_bytes=settings.history.min_free_mb << 20,
    )
    origins = {
        scheme: http if scheme in ("http", "https") else others
        for scheme in datasets.allow
        if scheme != "file"
    }
    return Datasets(datasets.root, cache, origins)


def _workspaces_root(settings: Settings) -> Path:
    """Raises CannotStart."""
    data_dir = settings.data_dir.resolve()
    own = data_dir / "jupyter"
    if settings.jupyter.root is None:
        return own
    root = settings.jupyter.root.resolve()
    others = {"the data directory": data_dir}
    if settings.datasets.root is not None:
        others["[datasets] root"] = settings.datasets.root.resolve()
    for name, other in others.items():
        apart = not (root.is_relative_to(other) or other.is_relative_to(root))
        if not (apart or root.is_relative_to(own)):
            raise CannotStart(
                f"[jupyter] root {root} and {name} {other} lie in one another: whoever works in "
                "Jupyter could change what the server keeps. Choose another folder for one of them"
            )
    return root


def _jupyter_settings(settings: Settings) -> JupyterSettings:
    return JupyterSettings(
        images=settings.jupyter.images,
        idle_ms=settings.jupyter.idle_seconds * 1000,
        private=settings.auth.private,
        has_containers=settings.server.launcher == "docker",
    )


def _public_url(settings: Settings, port: int) -> str:
    """Without a slash at its end."""
    if settings.server.public_url is not None:
        return settings.server.public_url.rstrip("/")
    host = settings.server.http.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - nothing listens here
        host = socket.gethostname()
    scheme = "http" if settings.server.tls_cert is None else "https"
    return f"{scheme}://{Address(host, port)}"


def _capacity(settings: Settings) -> Resources:
    return Resources(
        cpu=settings.resources.cpu,
        memory_gb=settings.resources.memory_gb,
        gpu=settings.gpu.slots,
    )


def _engine_settings(settings: Settings) -> EngineSettings:
    tasks = settings.tasks
    return EngineSettings(
        data_dir=settings.data_dir,
        limits=Limits(
            _capacity(settings),
            max_running=tasks.max_running,
            reserve_after_ms=tasks.reserve_after * 1000,
            worker_id=socket.gethostname(),
            slots_per_gpu=settings.gpu.slots_per_gpu,
            placement=Placement(settings.gpu.placement),
            half_life_ms=settings.scheduling.half_life * 1000,
            user_gpus=settings.quotas.user_gpus,
            user_queued=settings.quotas.user_queued,
            preemption=settings.scheduling.preemption,
            ahead=settings.scheduling.ahead,
        ),
        defaults=Defaults(tasks.image, tasks.command, tasks.timeout_seconds, tasks.max_retries),
        runs=RunSettings(
            grace_ms=tasks.grace_seconds * 1000,
            # The shim keeps the newest two segments.
            log_segment_bytes=tasks.log_bytes // 2,
        ),
        private=settings.auth.private,
        zone=settings.history.time_zone,
        dataset_schemes=settings.datasets.allow,
    )


async def _keyring(store: DuckDBStore) -> Keyring:
    ids = IdSequence()

    def clock_ms() -> int:
        return time.time_ns() // 1_000_000

    keyring = Keyring(store, clock_ms=clock_ms, new_id=lambda: ids.next(clock_ms()))
    await keyring.load()
    return keyring


def _admission(settings: Settings, keyring: Keyring) -> Admission:
    limit = settings.rate_limit
    limiter = RateLimiter(limit.per_second, limit.burst) if limit.enabled else None
    return Admission(keyring, time.monotonic, limiter=limiter)


async def _show_first_key(keyring: Keyring, data_dir: Path, wanted: str | None) -> None:
    file = data_dir / "admin.key"
    secret = await ensure_admin(
        keyring, wanted, keep=lambda secret: write_durably(file, f"{secret}\n".encode())
    )
    if secret is not None:
        # Past the log, which would take the key out.
        print(f"The admin key, shown once and kept in {file}: {secret}", file=sys.stderr)


def _warn_if_open(*addresses: Address) -> None:
    for address in addresses:
        if address.host not in {"127.0.0.1", "::1", "localhost"}:
            log.warning(
                "%s can be reached from other machines, and keys travel unencrypted: set [server] "
                "tls_cert and tls_key, or put a proxy with TLS in front",
                address,
            )


def _end_at_once(error: Exception) -> None:
    """The store has failed: nothing more may be answered. The next start goes on from the disk."""
    log.critical("the store has failed, the server ends: %s", error, exc_info=error)
    _exit(1)


def _give_up_waiting() -> None:
    log.warning("some requests did not end in time; all that was acknowledged is on disk")
    _exit(0)


def _exit(code: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
