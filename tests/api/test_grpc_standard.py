"""The standard health and reflection services, which need no key."""

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fetchml.views import Health, HealthStatus
from tests.support.front import EDGE
from tests.support.grpc_world import World
from tests.support.waiting import SECONDS

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_reports_whether_the_server_accepts_work(world: World) -> None:
    stub: Any = health_pb2_grpc.HealthStub(world.client.channel)

    async def check(service: str = "") -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        return int((await stub.Check(request)).status)

    assert await check() == SERVING
    assert await check("fetchml.v1.TaskService") == SERVING
    world.engine.report(Health(HealthStatus.UNHEALTHY, ("disk nearly full",), accepts_work=False))
    assert await check() == NOT_SERVING
    world.engine.report(Health(HealthStatus.HEALTHY))
    await world.engine.drain()
    assert await check("fetchml.v1.QueueService") == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await check("no.such.Service")
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.fronts(EDGE)
async def test_health_watch_reports_changes(world: World) -> None:
    stub: Any = health_pb2_grpc.HealthStub(world.client.channel)
    call = stub.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    assert (await call.read()).status == SERVING
    await world.engine.drain()
    assert (await call.read()).status == NOT_SERVING
    call.cancel()


async def reflect(
    world: World, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(world.client.channel)
    answer: reflection_pb2.ServerReflectionResponse = await stub.ServerReflectionInfo(
        iter([request])
    ).read()
    return answer


async def test_reflection_describes_every_service(world: World) -> None:
    listed = await reflect(world, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert {service.name for service in listed.list_services_response.service} == {
        "fetchml.v1.AccessService",
        "fetchml.v1.AuditService",
        "fetchml.v1.EnvironmentService",
        "fetchml.v1.ExperimentService",
        "fetchml.v1.GpuService",
        "fetchml.v1.HistoryService",
        "fetchml.v1.JupyterService",
        "fetchml.v1.KeyService",
        "fetchml.v1.NotificationService",
        "fetchml.v1.QueueService",
        "fetchml.v1.ReproduceService",
        "fetchml.v1.SecretService",
        "fetchml.v1.ServerService",
        "fetchml.v1.SnapshotService",
        "fetchml.v1.StorageService",
        "fetchml.v1.SweepService",
        "fetchml.v1.TaskService",
        "fetchml.v1.UsageService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    described = await reflect(
        world,
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="fetchml.v1.TaskService"),
    )
    assert described.file_descriptor_response.file_descriptor_proto
