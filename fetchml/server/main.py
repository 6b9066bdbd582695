"""Starts the server, runs it until a signal, and stops it in order."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import uvloop
from google.protobuf.message import Message

from fetchml.adapters.duckdb.store import DuckDBStore, StoreUnusable
from fetchml.adapters.system_errors import with_advice
from fetchml.api.grpc.server import GrpcServer
from fetchml.api.operation_table import key_operations
from fetchml.api.rest.server import HttpServer, HttpTimeouts
from fetchml.api.services import ApiServices
from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.auth.keyring import BadAdminKey, KeyManager, Keyring, ensure_admin
from fetchml.backup.store_copy import StoreCopies
from fetchml.config.address import Address
from fetchml.config.settings import Settings
from fetchml.engine.retention import Retention
from fetchml.engine.server_information import Examine, examine_nothing
from fetchml.engine.task_index import RECENT, RECENT_BYTES
from fetchml.environments.environment_service import CachedEnvironments
from fetchml.files import task_users
from fetchml.files.control_socket import control_socket, write_address
from fetchml.files.data_dir import DataDirBusy, ForeignDataDir, lock_data_dir, require_own
from fetchml.files.layout import ADMIN_KEY
from fetchml.files.own_file import write_durably
from fetchml.files.storage_usage import StorageMonitor
from fetchml.ports.store import StoreDamaged
from fetchml.server import cluster_wiring, sd_notify, wiring
from fetchml.server.assembly import Outside, assemble
from fetchml.server.cannot_start import CannotStart
from fetchml.server.environment_wiring import environment_wiring
from fetchml.server.gateway_socket import gateway_socket
from fetchml.server.notification_wiring import notifiers
from fetchml.shim import UnsupportedMachineError
from fetchml.system import capabilities
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence

REQUESTS_FINISH_SECONDS = 4
"""Time for requests to finish after a stop signal."""
DRAIN_SECONDS = 9
"""Time from the stop signal until the process ends, finished or not."""
EXIT_SECONDS = 1
OPEN_FILES = 1 << 20
FEWEST_OPEN_FILES = 256
"""With fewer, any part may fail, also libraries that then end the process."""
YOUNG_OBJECTS = 20_000
"""Objects that requests hold at one time. With Python's default of 700 a garbage collection would
pass through all of them every few requests."""

_WITH_ADVICE = (
    BadAdminKey,
    DataDirBusy,
    ForeignDataDir,
    StoreDamaged,
    StoreUnusable,
    UnsupportedMachineError,
)

log = logging.getLogger(__name__)


def serve(settings: Settings, admin_key: str | None, examine: Examine = examine_nothing) -> None:
    """Run the server until SIGTERM or SIGINT. `admin_key`: see `ensure_admin`. `examine`: the
    checks of `fetchml doctor`.

    Raises CannotStart. Ends the process with code 1 when the store fails.
    """
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    if enough < FEWEST_OPEN_FILES:
        raise CannotStart(
            f"the limit of open files is {most}, but {FEWEST_OPEN_FILES} are needed: raise it "
            "(ulimit -n; LimitNOFILE= of a service)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))
    with _start_errors():
        # Before the second thread starts: each thread has its own capabilities.
        if cluster_wiring.hands_files_over(settings):
            capabilities.keep_from_children()
        else:
            capabilities.drop_all()
        require_own(settings.data_dir)
        uvloop.run(_serve(settings, admin_key, examine))


async def manage_keys(data_dir: Path, request: Message) -> Message:
    """Answer a KeyService request of the owner while the data directory's server is not running.

    Raises CannotStart, RequestError.
    """
    failed = asyncio.get_running_loop().create_future()
    failed.add_done_callback(asyncio.Future.exception)  # After the answer it does not matter.
    with _start_errors():
        store = wiring.store(Settings(data_dir=data_dir))
        await store.open(recent_limit=0, on_fatal=failed.set_exception)
    try:
        answer = asyncio.ensure_future(_answer_about_keys(store, request))
        await asyncio.wait((answer, failed), return_when=asyncio.FIRST_COMPLETED)
        with _start_errors():
            return answer.result() if answer.done() else failed.result()
    finally:
        answer.cancel()
        await store.close()


async def _answer_about_keys(store: DuckDBStore, request: Message) -> Message:
    clock, ids = Clock(), IdSequence()
    keys = KeyManager(await wiring.keyring(store, clock, ids), Audit(store, clock_ms=clock))
    for operation in key_operations(keys):
        if operation.rpc.input_type is request.DESCRIPTOR:
            return await operation.answer(Admission.local, request)
    raise TypeError(f"{type(request).__name__} is not a request about keys")


@contextlib.contextmanager
def _start_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotStart(with_advice(error)) from error
    except _WITH_ADVICE as error:
        raise CannotStart(str(error)) from error


async def _serve(settings: Settings, admin_key: str | None, examine: Examine) -> None:
    stop_requested = _stop_signals()
    async with AsyncExitStack() as stack:
        data_dir = settings.data_dir
        # First, because a server that runs on this data directory holds the ports too.
        lock_data_dir(data_dir).release()
        http_sockets = _listen(stack, settings.server.http)
        http = Address(settings.server.http.host, http_sockets[0].getsockname()[1])
        jupyter_sockets = _listen(stack, settings.jupyter.http) if settings.jupyter.http else []
        jupyter_port = jupyter_sockets[0].getsockname()[1] if jupyter_sockets else None
        _require_free(settings.server.grpc)
        certificate = wiring.certificate(settings)
        gateway = (
            stack.enter_context(gateway_socket(data_dir)) if wiring.has_gateway(settings) else None
        )
        watch = await stack.enter_async_context(cluster_wiring.folder_events(settings))
        store = wiring.store(settings)
        restored = await store.open(
            recent_limit=RECENT, recent_bytes=RECENT_BYTES, on_fatal=_exit_on_store_failure
        )
        stack.push_async_callback(store.close)
        await _warn_of_tasks_files(store)
        inventory = wiring.gpu_inventory(settings)
        launcher = wiring.launcher(settings, watch, inventory)
        owners = wiring.owners(settings, store, launcher)
        outside = Outside(
            store,
            restored,
            launcher,
            inventory,
            wiring.datasets(settings),
            owners,
            watch,
            cluster_wiring.host_of(launcher),
            environment_wiring(settings, launcher),
            notifiers(settings),
        )
        parts = await assemble(outside, wiring.options(settings, http.port, jupyter_port, examine))
        engine, snapshots, jupyter = parts.engine, parts.snapshots, parts.jupyter
        await parts.lifecycle.start()
        stack.push_async_callback(parts.lifecycle.close)
        await _enter(
            stack, snapshots.upkeep(), jupyter.supervision.running(), parts.access.relays.running()
        )
        keyring = await wiring.keyring(store, parts.clock, parts.ids)
        await _show_admin_key(keyring, data_dir, admin_key)
        admission = wiring.admission(settings, keyring)
        copies = StoreCopies(store, data_dir, admission.local)
        for made_files in (copies, parts.history):
            made_files.remove_left_over()
        retention = Retention(
            store,
            parts.ended,
            snapshots,
            parts.usage,
            parts.audit,
            wiring.retention_settings(settings),
            parts.clock,
            environments=parts.environments,
            volumes=parts.volumes,
        )
        watch_disk = StorageMonitor(
            parts.usage, parts.watched, jupyter, wiring.watch_settings(settings)
        )
        await _enter(
            stack,
            watch_disk.watching(),
            retention.upkeep(),
            keyring.saving_use(),
            parts.volumes.watching(),
            parts.sampler.sampling(),
            parts.activity.reporting(),
            parts.sender.sending(),
            parts.tracked.collector.running(),
            parts.tracked.artifacts.upkeep(parts.tracked.models.among, parts.tracked.runs.among),
        )
        api = ApiServices(
            engine,
            parts.experiments,
            snapshots,
            jupyter,
            parts.gpus,
            admission,
            KeyManager(keyring, parts.audit),
            parts.audit,
            parts.access,
            parts.secrets,
            CachedEnvironments(parts.environments, parts.audit),
            retention,
            parts.tracked.runs,
            parts.tracked.models,
            parts.tracked.artifacts,
            parts.tracked.live_tasks,
            parts.history,
            parts.what_ifs,
        )
        rpc = GrpcServer(api, copies=copies, max_connections=wiring.max_connections(settings))
        rest = HttpServer(
            api,
            HttpTimeouts(streams_close=2, requests_finish=REQUESTS_FINISH_SECONDS),
            max_connections=wiring.max_connections(settings),
        )
        control = stack.enter_context(control_socket(data_dir))
        stack.push_async_callback(_stop_transports, rest, rpc)
        await rest.start([*http_sockets, *jupyter_sockets], certificate, gateway)
        grpc_port = await rpc.start(str(settings.server.grpc), control, certificate)
        grpc = Address(settings.server.grpc.host, grpc_port)
        if certificate is None:
            _warn_if_open(http, grpc, *([settings.jupyter.http] if settings.jupyter.http else []))
        alive = _report_ready(http, grpc, data_dir)
        await stop_requested.wait()
        _after(DRAIN_SECONDS, _exit_in_time)
        log.info("shutting down; running tasks go on")
        sd_notify.notify("STOPPING=1")
        await parts.lifecycle.drain()
        alive.cancel()


async def _enter(stack: AsyncExitStack, *upkeep: AbstractAsyncContextManager[None]) -> None:
    for each in upkeep:
        await stack.enter_async_context(each)


def _report_ready(http: Address, grpc: Address, data_dir: Path) -> asyncio.Task[None]:
    """Return the task that reports to systemd that the event loop is alive."""
    write_address(data_dir, str(grpc))
    # Objects that exist now live on: later collections need not pass through them (50 ms each).
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
    """Return an event that the first SIGTERM or SIGINT sets. The second signal ends the process at
    once: everything that was acknowledged is on disk."""
    asked = asyncio.Event()

    def stop(number: int) -> None:
        if asked.is_set():
            with _exit_with(128 + number):
                log.warning("ended at once by a second signal")
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return asked


def _bind(address: Address) -> list[socket.socket]:
    """Bind before any task starts. Raises CannotStart."""
    try:
        return address.bind()
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {address}: {error.strerror}. Stop the program that uses "
            "it, or choose another address with --http or --grpc"
        ) from error


def _listen(stack: AsyncExitStack, address: Address) -> list[socket.socket]:
    """Return bound sockets, which the stack closes. Raises CannotStart."""
    sockets = _bind(address)
    for each in sockets:
        stack.callback(each.close)
    return sockets


def _require_free(address: Address) -> None:
    """Raises CannotStart."""
    for bound in _bind(address):
        bound.close()


async def _show_admin_key(keyring: Keyring, data_dir: Path, wanted: str | None) -> None:
    file = data_dir / ADMIN_KEY
    secret = await ensure_admin(
        keyring, wanted, keep=lambda secret: write_durably(file, f"{secret}\n".encode())
    )
    if secret is not None:
        # Past the log, which would take the key out.
        print(f"The admin key, shown once and kept in {file}: {secret}", file=sys.stderr)


async def _warn_of_tasks_files(store: DuckDBStore) -> None:
    """Warn if an earlier server gave each user a uid here and this one can't."""
    if not capabilities.may_hand_over() and (users := await store.list_documents(task_users.KIND)):
        log.warning(
            "Tasks of %d users have files in this data directory that belong to uids of their own, "
            "and this server can neither read nor remove them: start it as the service (fetchml "
            "service install) or as root, as it was before",
            len(users),
        )


def _warn_if_open(*addresses: Address) -> None:
    for address in addresses:
        if not address.is_loopback:
            log.warning(
                "%s can be reached from other machines, and keys travel unencrypted: set [server] "
                "tls_cert and tls_key, or put a proxy with TLS in front",
                address,
            )


def _exit_on_store_failure(error: Exception) -> None:
    """Answer nothing more after the store has failed. The next start continues from the disk."""
    with _exit_with(1):
        log.critical("the store has failed, the server ends: %s", error, exc_info=error)


def _exit_in_time() -> None:
    with _exit_with(0):
        log.warning("some requests did not end in time; all that was acknowledged is on disk")


@contextlib.contextmanager
def _exit_with(code: int) -> Iterator[None]:
    """End the process with `code` after the block has logged its message, also if the log blocks
    because nobody reads stderr."""
    _after(EXIT_SECONDS, functools.partial(os._exit, code))
    try:
        yield
        logging.shutdown()
        sys.stdout.flush()
    finally:
        os._exit(code)


def _after(seconds: float, act: Callable[[], None]) -> None:
    """Call `act` from a thread, so also while the event loop or the interpreter's end is stuck."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
