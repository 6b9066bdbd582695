"""A gRPC server on real sockets, with a stub engine and real keys, and a client of it."""

import itertools
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from fetchml.api.grpc.server import GrpcServer
from fetchml.api.services import ApiServices
from fetchml.auth.admission import Admission
from fetchml.auth.keyring import KeyManager, Keyring
from fetchml.auth.limits import RateLimiter
from fetchml.config.proxies import Proxies
from fetchml.core.model import Role
from fetchml.engine.gpus.gpus import Gpus
from fetchml.environments.environment_service import CachedEnvironments
from fetchml.jupyter.jupyter_service import JupyterServices
from fetchml.v1.audit_pb2_grpc import AuditServiceStub
from fetchml.v1.experiment_pb2_grpc import ExperimentServiceStub
from fetchml.v1.gpu_pb2_grpc import GpuServiceStub
from fetchml.v1.jupyter_pb2_grpc import JupyterServiceStub
from fetchml.v1.key_pb2_grpc import KeyServiceStub
from fetchml.v1.queue_pb2_grpc import QueueServiceStub
from fetchml.v1.snapshot_pb2_grpc import SnapshotServiceStub
from fetchml.v1.task_pb2_grpc import TaskServiceStub
from tests.support import front
from tests.support.memory_engine import MemoryEngine, memory_engine
from tests.support.memory_store import MemoryStore
from tests.support.stub_gpus import GpuBox, gpu_box
from tests.support.stub_services import StubServiceTasks, services_on


async def keys_of_every_role(store: MemoryStore) -> tuple[Keyring, dict[Role, str]]:
    ids = itertools.count()
    keyring = Keyring(
        store,
        clock_ms=lambda: time.time_ns() // 1_000_000,
        new_id=lambda: f"key-{next(ids)}",
    )
    return keyring, {role: (await keyring.create(role.value, role))[1] for role in Role}


def api_services(
    engine: MemoryEngine,
    jupyter: JupyterServices,
    gpus: Gpus,
    admission: Admission,
    keyring: Keyring,
) -> ApiServices:
    """Return the services of both transports: the engine's own, and these."""
    parts = engine.parts
    return ApiServices(
        parts.engine,
        parts.experiments,
        parts.snapshots,
        jupyter,
        gpus,
        admission,
        KeyManager(keyring, parts.audit),
        parts.audit,
        parts.access,
        parts.secrets,
        CachedEnvironments(parts.environments, parts.audit),
        engine.retention,
        parts.tracked.runs,
        parts.tracked.models,
        parts.tracked.artifacts,
        parts.tracked.live_tasks,
        parts.history,
        parts.what_ifs,
    )


class KeyedChannel:
    """A channel that sends `metadata` with each call that has none of its own."""

    def __init__(self, target: str, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = grpc.aio.insecure_channel(target)
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        if not name.endswith(("_unary", "_stream")):
            return found
        return lambda *args, **options: partial(found(*args, **options), metadata=self._metadata)


class Client:
    """Stubs of all services over one channel, whose calls carry `secret`."""

    def __init__(self, target: str, secret: str | None) -> None:
        self.metadata: tuple[tuple[str, str], ...] = (("x-api-key", secret),) if secret else ()
        self.target = target
        self.channel: Any = KeyedChannel(target, self.metadata)
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
    engine: MemoryEngine
    server: GrpcServer
    keyring: Keyring
    store: MemoryStore
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
    control_socket = folder / "control.sock"
    async with memory_engine() as engine, services_on(engine) as (jupyter, services):
        parts, store = engine.parts, engine.store
        keyring, secrets = await keys_of_every_role(store)
        admission = Admission(keyring, time.monotonic, limiter=limiter, proxies=proxies, **streams)
        box = await gpu_box(store, parts.audit)
        server = GrpcServer(api_services(engine, jupyter, box.gpus, admission, keyring))
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


async def failed_call(call: Awaitable[object]) -> Refusal:
    """Await a call that must fail; return how it did."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


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
