"""A gRPC server on real sockets, with a stub engine and real keys, and a client of it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from fetchml.api.grpc.server import GrpcServer
from fetchml.auth.admission import Admission
from fetchml.auth.audit import Audit
from fetchml.auth.key_manager import KeyManager
from fetchml.auth.keyring import Keyring
from fetchml.auth.limits import RateLimiter
from fetchml.config.proxies import Proxies
from fetchml.core.audit import AuditEntry
from fetchml.core.model import Key, Principal, Role
from fetchml.core.requests.experiment import Experiment
from fetchml.engine.experiments import KIND, Experiments
from fetchml.engine.retention import Retention, RetentionSettings
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.store import AuditQuery
from fetchml.records import RecordSet
from fetchml.snapshots.files import SnapshotFiles
from fetchml.snapshots.options import SnapshotOptions
from fetchml.snapshots.service import Snapshots
from fetchml.snapshots.unpack import UnpackLimits
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from fetchml.v1.audit_pb2_grpc import AuditServiceStub
from fetchml.v1.experiment_pb2_grpc import ExperimentServiceStub
from fetchml.v1.gpu_pb2_grpc import GpuServiceStub
from fetchml.v1.jupyter_pb2_grpc import JupyterServiceStub
from fetchml.v1.key_pb2_grpc import KeyServiceStub
from fetchml.v1.queue_pb2_grpc import QueueServiceStub
from fetchml.v1.snapshot_pb2_grpc import SnapshotServiceStub
from fetchml.v1.task_pb2_grpc import TaskServiceStub
from tests.support import front
from tests.support.stub_engine import StubEngine
from tests.support.stub_gpus import GpuBox, gpu_box
from tests.support.stub_services import StubServiceTasks, services_on


class KeyStore:
    """The part of a store that keys, experiments and the audit use."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], bytes] = {}
        self.audit: list[AuditEntry] = []
        self.named_snapshots: frozenset[str] = frozenset()

    def append_audit(self, entry: AuditEntry) -> asyncio.Future[None]:
        self.audit.append(entry)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def list_audit(self, query: AuditQuery) -> list[AuditEntry]:
        found = [e for e in self.audit if query.action in (None, e.action)]
        return found[::-1][: query.limit]

    async def put_key(self, key: Key) -> None: ...

    async def put_document(self, kind: str, document_id: str, data: bytes) -> None:
        self.documents[kind, document_id] = data

    async def delete_document(self, kind: str, document_id: str) -> None:
        del self.documents[kind, document_id]

    async def list_documents(self, kind: str) -> list[bytes]:
        return [data for key, data in self.documents.items() if key[0] == kind]

    def has_room(self) -> bool:
        return True

    async def list_keys(self) -> list[Key]:
        return []


KNOWN_SNAPSHOT = "5" * 64


def experiments_on(store: Any, audit: Audit) -> Experiments:
    async def exists(who: Principal, snapshot_id: str) -> bool:
        return snapshot_id == KNOWN_SNAPSHOT

    return Experiments(
        RecordSet(store, KIND, Experiment, lambda each: each.id),
        store,
        audit,
        clock=Clock(),
        ids=IdSequence(),
        private=False,
        snapshot_exists=exists,
    )


@asynccontextmanager
async def snapshots_on(store: Any, audit: Audit) -> AsyncIterator[Snapshots]:
    """Snapshots with small limits, in a folder of their own."""
    settings = SnapshotOptions(UnpackLimits(100_000, 20), keep_ms=60_000, private=False)
    with tempfile.TemporaryDirectory() as folder:
        files = SnapshotFiles(Path(folder))
        snapshots = Snapshots(
            store,
            files,
            settings,
            audit=audit,
            usage=StorageUsage(0),
            named=lambda _: store.named_snapshots,
        )
        await snapshots.load()
        async with snapshots.upkeep():
            yield snapshots


def retention_on(store: Any, snapshots: Snapshots, audit: Audit) -> Retention:
    no_engine: Any = None
    settings = RetentionSettings(0, 0)
    return Retention(store, no_engine, snapshots, StorageUsage(0), audit, settings, Clock())


class Client:
    """Stubs of all services over one channel; `secret` is sent with `tasks`, `queue`, `keys`."""

    def __init__(self, target: str, secret: str | None) -> None:
        self.metadata: tuple[tuple[str, str], ...] = (("x-api-key", secret),) if secret else ()
        self.channel: Any = grpc.aio.insecure_channel(target)
        self.tasks = TaskServiceStub(self.channel)
        self.queue = QueueServiceStub(self.channel)
        self.keys = KeyServiceStub(self.channel)
        self.audit = AuditServiceStub(self.channel)
        self.experiments = ExperimentServiceStub(self.channel)
        self.snapshots = SnapshotServiceStub(self.channel)
        self.jupyter = JupyterServiceStub(self.channel)
        self.gpus = GpuServiceStub(self.channel)


@dataclass
class World:
    engine: StubEngine
    server: GrpcServer
    keyring: Keyring
    store: KeyStore
    address: str
    control_socket: Path
    secrets: dict[Role, str]
    client: Client
    """Of a user."""
    services: StubServiceTasks
    box: GpuBox

    @asynccontextmanager
    async def connect(self, secret: str | None, *, local: bool = False) -> AsyncIterator[Client]:
        client = Client(f"unix:{self.control_socket}" if local else self.address, secret)
        try:
            yield client
        finally:
            await client.channel.close()


@asynccontextmanager
async def grpc_world(
    folder: Path,
    limiter: RateLimiter | None = None,
    proxies: Proxies | None = None,
    **streams: int,
) -> AsyncIterator[World]:
    """`streams`: the limits of `Admission`."""
    engine = StubEngine()
    ids = iter(range(100))
    store: Any = KeyStore()
    audit = Audit(store, clock_ms=Clock())
    keyring = Keyring(
        store,
        clock_ms=lambda: time.time_ns() // 1_000_000,
        new_id=lambda: f"key-{next(ids)}",
    )
    secrets = {role: (await keyring.create(role.value, role))[1] for role in Role}
    admission = Admission(keyring, time.monotonic, limiter=limiter, proxies=proxies, **streams)
    keys = KeyManager(keyring, audit)
    control_socket = folder / "control.sock"
    async with (
        snapshots_on(store, audit) as snapshots,
        services_on(store, audit) as (jupyter, services),
    ):
        experiments = experiments_on(store, audit)
        box = await gpu_box(store, audit)
        server = GrpcServer(
            engine,  # type: ignore[arg-type]  # a stub
            experiments,
            snapshots,
            jupyter,
            box.gpus,
            admission,
            keys,
            audit,
            retention=retention_on(store, snapshots, audit),
        )
        port = await server.start(f"127.0.0.1:{front.grpc_port()}", control_socket)
        address = front.seen(f"127.0.0.1:{port}")
        client = Client(address, secrets[Role.USER])
        try:
            yield World(
                engine,
                server,
                keyring,
                store,
                address,
                control_socket,
                secrets,
                client,
                services,
                box,
            )
        finally:
            await client.channel.close()
            await server.stop(0)


@dataclass
class Refusal:
    """A failed call as seen by the client."""

    code: grpc.StatusCode
    message: str
    reason: str
    trace_id: str
    violations: list[tuple[str, str]]
    retry_seconds: int | None


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    broken = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for message in (info, broken, retry):
            detail.Unpack(message)
    assert info.domain == "fetchml"
    assert info.metadata["trace_id"] == trailers["x-trace-id"]
    assert status.message == error.details()
    assert status.code == error.code().value[0]
    return Refusal(
        error.code(),
        status.message,
        info.reason,
        info.metadata["trace_id"],
        [(violation.field, violation.description) for violation in broken.field_violations],
        retry.retry_delay.seconds or None,
    )
