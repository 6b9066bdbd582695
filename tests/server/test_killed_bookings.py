"""The server is killed at each step of a booking's life, and does after it what it would have."""

import json
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from fetchml.core.model import Role
from tests.support.program import Backend, Server, Task
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon, until

pytestmark = pytest.mark.slow

ONE_GPU = {"FETCHML_GPU_SLOTS": "1", "FETCHML_SCHEDULING_AHEAD": "false"}


def shown(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request(begin: float, length: float) -> dict[str, Any]:
    """In seconds from now."""
    starts_at = datetime.now(UTC) + timedelta(seconds=begin)
    ends_at = starts_at + timedelta(seconds=length)
    return {"user_id": "ada", "gpu": 1, "starts_at": shown(starts_at), "ends_at": shown(ends_at)}


async def book(server: Server, begin: float, length: float) -> dict[str, Any]:
    fields = request(begin, length)
    reply = await soon(server.rest.ask("POST", "/v1/bookings", json_of(fields), **JSON))
    assert reply.status == 201, reply
    made: dict[str, Any] = reply.json
    return made


def json_of(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


async def bookings(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.rest.get("/v1/bookings")).json["bookings"]
    return found


async def submit_as(server: Server, name: str, script: str, **fields: Any) -> str:
    rest, _ = await server.clients(await server.key(name, Role.USER))
    body = {"job_name": "a", "command": ["sh", "-c", script], "gpu": 1, **fields}
    reply = await soon(rest.submit(body))
    assert reply.status == 201, reply
    return str(reply.json["id"])


async def waits_for_the_booking(server: Server, task_id: str) -> None:
    await until(lambda: server.explained(task_id), lambda why: "reserved for ada until" in why)


@pytest.mark.parametrize("step", ["booking_stored", "booking_reported"])
async def test_killed_while_it_is_made(serve: Serve, processes_backend: Backend, step: str) -> None:
    """It was durable before the server died, so that it is there: once, and in force."""
    server = await serve(processes_backend, **ONE_GPU).start(FETCHML_CRASH_AT=step)
    with suppress(aiohttp.ClientError):
        await soon(server.rest.ask("POST", "/v1/bookings", json_of(request(0, 600)), **JSON))
    assert await server.died() == -signal.SIGKILL
    await server.start()
    assert [each["user_id"] for each in await bookings(server)] == ["ada"]
    other = await submit_as(server, "bob", "true")
    await waits_for_the_booking(server, other)
    own = await submit_as(server, "ada", "true")
    assert (await server.ended(own)).status == Task.completed
    await waits_for_the_booking(server, other)


async def test_killed_while_it_is_removed(serve: Serve, processes_backend: Backend) -> None:
    """It is gone from the disk: the task that waited for its end starts after the restart."""
    server = await serve(processes_backend, **ONE_GPU).start(FETCHML_CRASH_AT="booking_removed")
    made = await book(server, 0, 600)
    other = await submit_as(server, "bob", "true")
    await waits_for_the_booking(server, other)
    with suppress(aiohttp.ClientError):
        await soon(server.rest.ask("DELETE", f"/v1/bookings/{made['id']}"))
    assert await server.died() == -signal.SIGKILL
    await server.start()
    assert await bookings(server) == []
    assert (await server.ended(other)).status == Task.completed
