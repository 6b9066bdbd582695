"""The gRPC server: its services, options, listeners and shutdown."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from fetchml.api.grpc.access import AccessService
from fetchml.api.grpc.call import RpcContext
from fetchml.api.grpc.handler import RpcHandler
from fetchml.api.grpc.health import HealthService
from fetchml.api.grpc.receiving import MAX_MESSAGE_BYTES, UNREAD_BYTES
from fetchml.api.grpc.resources import (
    BackupService,
    ExperimentService,
    GpuService,
    HistoryService,
    JupyterService,
    QueueService,
    SnapshotService,
    SweepService,
)
from fetchml.api.grpc.tasks import TaskService
from fetchml.api.operation import Operation
from fetchml.api.operation_table import operations
from fetchml.api.proxy.task_ports import OpenedPorts
from fetchml.api.services import ApiServices
from fetchml.backup.store_copy import StoreCopies
from fetchml.config.settings import MAX_CONNECTIONS
from fetchml.config.tls import Certificate, LoadedCertificate
from fetchml.v1 import (
    access_pb2,
    access_pb2_grpc,
    audit_pb2,
    backup_pb2_grpc,
    environment_pb2,
    experiment_pb2,
    experiment_pb2_grpc,
    gpu_pb2,
    gpu_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    jupyter_pb2,
    jupyter_pb2_grpc,
    key_pb2,
    notification_pb2,
    queue_pb2,
    queue_pb2_grpc,
    reproduce_pb2,
    secret_pb2,
    server_pb2,
    snapshot_pb2,
    snapshot_pb2_grpc,
    storage_pb2,
    sweep_pb2,
    sweep_pb2_grpc,
    task_pb2,
    task_pb2_grpc,
    usage_pb2,
)

SERVICES = frozenset(
    file.services_by_name[name].full_name
    for file, name in (
        (task_pb2.DESCRIPTOR, "TaskService"),
        (queue_pb2.DESCRIPTOR, "QueueService"),
        (experiment_pb2.DESCRIPTOR, "ExperimentService"),
        (sweep_pb2.DESCRIPTOR, "SweepService"),
        (notification_pb2.DESCRIPTOR, "NotificationService"),
        (snapshot_pb2.DESCRIPTOR, "SnapshotService"),
        (jupyter_pb2.DESCRIPTOR, "JupyterService"),
        (gpu_pb2.DESCRIPTOR, "GpuService"),
        (key_pb2.DESCRIPTOR, "KeyService"),
        (secret_pb2.DESCRIPTOR, "SecretService"),
        (environment_pb2.DESCRIPTOR, "EnvironmentService"),
        (audit_pb2.DESCRIPTOR, "AuditService"),
        (storage_pb2.DESCRIPTOR, "StorageService"),
        (usage_pb2.DESCRIPTOR, "UsageService"),
        (history_pb2.DESCRIPTOR, "HistoryService"),
        (access_pb2.DESCRIPTOR, "AccessService"),
        (reproduce_pb2.DESCRIPTOR, "ReproduceService"),
        (server_pb2.DESCRIPTOR, "ServerService"),
    )
)

MAX_CALLS = 10_000
"""Concurrent calls, streams included; more are rejected with RESOURCE_EXHAUSTED."""

MAX_CONTROL_CALLS = 100
"""Concurrent calls over the control socket. They are limited apart, so that the owner is never
locked out."""

METADATA_BYTES = 16 * 1024
"""Headers of one call, with 32 bytes more for each."""
CONNECTION_BYTES = 64 * 1024
"""Memory of one connection, mostly for an incomplete head (measured: 15 KiB without one, 52 KiB
with the largest)."""
IDLE_SECONDS = 300
"""A connection is closed after this time without a call. An open stream counts as a call, a ping
does not. Clients reconnect automatically at their next call."""
HANDSHAKE_SECONDS = 10
"""Longest time for the TLS handshake and the first HTTP/2 frame."""
SETTINGS_SECONDS = 5
"""Longest time from then on until the client has acknowledged the server's settings, from which on
gRPC limits the headers of a call."""

OPTIONS = (
    # Two servers on one port would each receive a part of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Without these two options, every stream's window would grow with the connection's speed. With
    # them it grows only to the size of a message while its call waits for that message.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", UNREAD_BYTES),
    ("grpc.max_concurrent_streams", 1_000),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES),
    # A client that vanished silently is disconnected after a minute.
    ("grpc.keepalive_time_ms", 40_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping this often to check that a quiet watch is alive.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class GrpcServer:
    """Serves all gRPC services on a TCP port and on the control socket."""

    def __init__(
        self,
        api: ApiServices,
        *,
        copies: StoreCopies | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """`copies`: `None` to offer no BackupService. `max_connections`: connections of all
        addresses, the control socket not included."""
        self._handler = RpcHandler(api.admission, api.audit)
        self._server = grpc.aio.server(
            handlers=(self._handler,),
            options=(
                *OPTIONS,
                ("grpc.max_allowed_incoming_connections", max_connections),
                ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
                ("grpc.http2.settings_timeout", SETTINGS_SECONDS * 1000),
            ),
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        self._control = grpc.aio.server(
            handlers=(self._handler,), options=OPTIONS, maximum_concurrent_rpcs=MAX_CONTROL_CALLS
        )
        self._stopping = False

        def accepts_work() -> bool:
            return (
                not (self._stopping or api.engine.status.draining)
                and api.engine.status.health().accepts_work
            )

        services: Any = self._handler
        # Before the generated services, whose methods that are in the table are not implemented.
        self._handler.add_generic_rpc_handlers(handlers(operations(api)))
        task_pb2_grpc.add_TaskServiceServicer_to_server(
            TaskService(api.engine, self._handler.unread), services
        )
        queue_pb2_grpc.add_QueueServiceServicer_to_server(QueueService(api.engine), services)
        experiment_pb2_grpc.add_ExperimentServiceServicer_to_server(
            ExperimentService(api.experiments), services
        )
        sweep_pb2_grpc.add_SweepServiceServicer_to_server(SweepService(api.engine), services)
        snapshot_pb2_grpc.add_SnapshotServiceServicer_to_server(
            SnapshotService(api.snapshots), services
        )
        jupyter_pb2_grpc.add_JupyterServiceServicer_to_server(JupyterService(api.jupyter), services)
        gpu_pb2_grpc.add_GpuServiceServicer_to_server(GpuService(api.gpus), services)
        history_pb2_grpc.add_HistoryServiceServicer_to_server(HistoryService(api.history), services)
        access_pb2_grpc.add_AccessServiceServicer_to_server(
            AccessService(api.access, OpenedPorts(api.access, api.admission, api.jupyter.origins)),
            services,
        )
        if copies is not None:
            backup_pb2_grpc.add_BackupServiceServicer_to_server(BackupService(copies), services)
        health = HealthService(SERVICES, accepts_work)
        health_pb2_grpc.add_HealthServicer_to_server(health, services)
        names = (*sorted(SERVICES), "grpc.health.v1.Health", reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
            reflection.aio.ReflectionServicer(names), services
        )

    async def start(
        self,
        address: str,
        control_socket: Path | None = None,
        certificate: Certificate | None = None,
    ) -> int:
        """Listen on HOST:PORT, with TLS if there is a certificate, and for this host's admin on a
        Unix socket that only the server's user may open.

        Returns the port, which the system chooses if `address` names port 0. Raises OSError.
        """
        if address.startswith("unix"):
            # Every call through a Unix socket is treated as the admin's.
            raise ValueError(f"{address}: give HOST:PORT")
        port = _listen(self._server, address, certificate)
        if control_socket is not None:
            before = os.umask(0o177)
            try:
                _listen(self._control, f"unix:{control_socket}")
            finally:
                os.umask(before)
            await self._control.start()
        await self._server.start()
        return port

    async def stop(self, grace: float) -> None:
        """Accept no more calls, end streams with UNAVAILABLE, and give other calls `grace` seconds
        to finish."""
        self._stopping = True
        self._handler.close_streams()
        await asyncio.gather(self._server.stop(grace), self._control.stop(grace))


def _listen(server: grpc.aio.Server, address: str, certificate: Certificate | None = None) -> int:
    try:
        if certificate is not None:
            return server.add_secure_port(address, _credentials(certificate))
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"Cannot listen on {address}: is it in use? ({error})") from error


def _credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """Return credentials that follow the certificate's renewals. gRPC calls `renewed` at each
    handshake, in a thread of its own; `None` keeps the previous certificate."""
    current = certificate.current()

    def configured(loaded: LoadedCertificate) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(loaded.key, loaded.certificate)])

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        before, current = current, certificate.current()
        return None if current is before else configured(current)

    return grpc.dynamic_ssl_server_credentials(
        configured(current),
        renewed,  # type: ignore[arg-type]  # gRPC accepts None; its types do not.
        require_client_authentication=False,
    )


def handlers(operations: Iterable[Operation]) -> list[grpc.GenericRpcHandler]:
    """Return a handler for each service. It has only the methods that are in the table."""
    services: dict[str, dict[str, Any]] = {}
    for operation in operations:
        service = services.setdefault(operation.rpc.containing_service.full_name, {})
        service[operation.rpc.name] = _handler(operation)
    return [grpc.method_handlers_generic_handler(*service) for service in services.items()]


def _handler(operation: Operation) -> Any:
    async def answer(request: Message, context: RpcContext) -> Message:
        return await operation.answer(context.principal, request)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=GetMessageClass(operation.rpc.input_type).FromString,
        response_serializer=GetMessageClass(operation.rpc.output_type).SerializeToString,
    )
