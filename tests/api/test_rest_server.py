"""Health, probes, queue, metrics, and the description of the API."""

import asyncio
import datetime
from typing import Any

import aiohttp
import pytest
import yaml

import fetchml
from fetchml.api.rest.server import HttpServer
from fetchml.attempts.manager import PrestageCounts
from fetchml.config.address import Address
from fetchml.core.model import Role, Status
from fetchml.core.scheduling.estimate import Calibration
from fetchml.engine.status import ServerStatus
from fetchml.views import Health, HealthStatus, QueueUse
from tests.support.front import EDGE
from tests.support.grpc_world import api_services
from tests.support.rest_world import JSON, World, rest_world
from tests.support.stub_gpus import reading
from tests.support.validate import SUPERSET


@pytest.mark.parametrize("status", HealthStatus)
async def test_health_is_always_200_and_true(rest: World, status: HealthStatus) -> None:
    rest.engine.report(Health(status, ("the disk is nearly full",), accepts_work=False))
    for path in ("/health", "/livez"):
        reply = await rest.as_(None).get(path)
        assert reply.status == 200
        assert reply.json.keys() == {"status", "version", "timestamp"}
        assert (reply.json["status"], reply.json["version"]) == (status, fetchml.__version__)
    now = datetime.datetime.now(datetime.UTC)
    shown = datetime.datetime.fromisoformat(reply.json["timestamp"])
    assert abs(now - shown) < datetime.timedelta(seconds=5)


async def test_readyz_reports_whether_the_server_accepts_work(rest: World) -> None:
    assert (await rest.as_(None).get("/readyz")).status == 200
    rest.engine.report(Health(HealthStatus.DEGRADED, ("Docker is away",)))
    assert (await rest.as_(None).get("/readyz")).status == 200
    rest.engine.report(
        Health(HealthStatus.UNHEALTHY, ("the disk is nearly full",), accepts_work=False)
    )
    reply = await rest.as_(None).get("/readyz")
    assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")
    assert reply.error == "Not ready: the disk is nearly full"


async def test_queue_statistics(rest: World) -> None:
    ids = [(await rest.client.submit()).json["id"] for _ in range(3)]
    await rest.engine.change(ids[0], status=Status.PREPARING)
    now = rest.engine.parts.clock()
    await rest.engine.change(ids[1], status=Status.FAILED, ended_at=now)
    assert (await rest.client.get("/v1/queue")).json == {
        "queued": 1,
        "running": 1,
        "completed": 0,
        "failed": 1,
        "workers": 1,
    }


async def test_openapi_is_served_without_a_key(rest: World) -> None:
    reply = await rest.as_(None).get("/openapi.yaml")
    assert yaml.load(reply.body, yaml.CSafeLoader) == SUPERSET


async def test_metrics(rest: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {
        "queue_use": QueueUse(bytes=2048, most_bytes=4096, refused=3),
        "ahead_counts": PrestageCounts(prestaged=5, opened=3, discarded=2, ordinary=7),
        "calibration": Calibration(tasks=10, by_p50=5, by_p90=9),
    }
    for name, value in shown.items():
        monkeypatch.setattr(ServerStatus, name, value)
    task_id = (await rest.client.submit()).json["id"]
    for path in ("/v1/tasks/x", "/v1/tasks/y", f"/v1/tasks/{task_id}", "/health"):
        await rest.client.get(path)
    await rest.client.session.get(rest.client.url("/nowhere/at/all"))
    text = (await rest.client.get("/metrics")).body.decode()
    for line in (
        "fetchml_tasks_queued 1.0",
        "fetchml_workers 1.0",
        "fetchml_queue_bytes 2048.0",
        "fetchml_queue_refusals_total 3.0",
        'fetchml_health{status="healthy"} 1.0',
        'fetchml_http_replies_total{method="POST",path="/v1/tasks",status="201"} 1.0',
        'fetchml_http_replies_total{method="GET",path="/v1/tasks/{id}",status="404"} 2.0',
        'fetchml_http_replies_total{method="GET",path="/v1/tasks/{id}",status="200"} 1.0',
        "fetchml_http_streams 0.0",
        'fetchml_attempts_total{how="ahead"} 5.0',
        'fetchml_attempts_total{how="ordinary"} 7.0',
        'fetchml_prepared_ahead_total{came_to="started"} 3.0',
        'fetchml_prepared_ahead_total{came_to="thrown_away"} 2.0',
        'fetchml_estimates_held_total{by="p90"} 9.0',
        "fetchml_estimates_checked_total 10.0",
    ):
        assert line in text.splitlines()
    assert "nowhere" not in text  # Unknown paths create no new series.
    assert "process_resident_memory_bytes" in text


async def test_metrics_of_sweeps_secrets_and_reservations(rest: World) -> None:
    rest.box.see(reading(0), reading(1))
    sweep = {"task": {"job_name": "a"}, "parameters": {"n": {"range": [1, 3]}}}
    assert (await rest.client.submit(sweep, "/v1/sweeps")).status == 201
    body = b'{"value": "a"}'
    assert (await rest.client.ask("PUT", "/v1/secrets/TOKEN", body, **JSON)).status == 200
    admin = rest.as_(rest.secrets[Role.ADMIN])
    for starts in ({}, {"starts_at": "2025-10-09T10:00:00Z"}):
        booking = {"user_id": "ada", "ends_at": "2025-10-09T12:00:00Z", "gpu": 1, **starts}
        assert (await admin.submit(booking, "/v1/bookings")).status == 201
    reply = await rest.as_(rest.secrets[Role.VIEWER]).get("/metrics")
    lines = reply.body.decode().splitlines()
    for line in (
        "fetchml_sweeps 1.0",
        "fetchml_sweeps_open 1.0",
        'fetchml_sweep_tasks{status="queued"} 3.0',
        'fetchml_sweep_tasks{status="completed"} 0.0',
        "fetchml_secrets 1.0",
        "fetchml_bookings 2.0",
        "fetchml_bookings_active 1.0",
        "fetchml_environments 0.0",
    ):
        assert line in lines, line
    assert "TOKEN" not in reply.body.decode()
    assert "ada" not in reply.body.decode()


async def test_stop_lets_requests_finish_and_ends_streams() -> None:
    async with rest_world() as rest:
        task_id = (await rest.client.submit()).json["id"]
        follower = await rest.client.open(f"/v1/tasks/{task_id}/logs?follow=1")
        held = asyncio.Event()
        asked = asyncio.Event()
        answer = rest.engine.engine.status.queue_stats

        async def slow(*args: Any) -> object:
            asked.set()
            await held.wait()
            return await answer(*args)

        rest.engine.replace("queue_stats", slow, rest.engine.engine.status)
        request = asyncio.create_task(rest.client.get("/v1/queue"))
        await asked.wait()
        stopping = asyncio.create_task(rest.server.stop("shutting down"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await follower.content.read()  # It does not look complete.
        follower.close()
        held.set()
        assert (await request).status == 200
        await stopping
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", rest.port)
        assert rest.engine.open_streams == 0


@pytest.mark.fronts(EDGE)
async def test_log_cut_off_by_a_drain_looks_incomplete(rest: World) -> None:
    task_id = (await rest.client.submit()).json["id"]
    async with rest.client.open(f"/v1/tasks/{task_id}/logs?follow=1") as response:
        await rest.engine.drain()
        await rest.engine.change(task_id, status=Status.COMPLETED)  # Ends the reading.
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_port_in_use_is_an_error(rest: World) -> None:
    parts = rest.engine.parts
    jupyter, gpus, admission = parts.jupyter, parts.gpus, rest.server._admission
    other = HttpServer(api_services(rest.engine, jupyter, gpus, admission, rest.keyring))
    with pytest.raises(OSError, match="in use"):
        await other.start(Address("127.0.0.1", rest.port).bind())
    await other.stop("over")
