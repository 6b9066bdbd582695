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
from tests.support.scripts import COUNTED, until_file
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon, until, until_true

pytestmark = pytest.mark.slow

ONE_GPU = {"FETCHML_GPU_SLOTS": "1", "FETCHML_SCHEDULING_AHEAD": "false"}
QUICK = 'trap "exit 0" TERM; '


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


@pytest.mark.parametrize("is_over", [False, True])
async def test_begins_while_the_server_is_dead(
    serve: Serve, processes_backend: Backend, is_over: bool
) -> None:
    """Whether it has begun or even ended meanwhile: the next server goes by the time."""
    server = await serve(processes_backend, **ONE_GPU).start()
    made = await book(server, 1, 0.5 if is_over else 600)
    other = await submit_as(server, "bob", "true")
    await until(lambda: server.explained(other), lambda why: "reserved for ada" in why)
    await server.kill()
    time = made["ends_at"] if is_over else made["starts_at"]
    await until_true(lambda: datetime.now(UTC) > datetime.fromisoformat(time))
    await server.start()
    if is_over:
        assert (await server.ended(other)).status == Task.completed
        assert await bookings(server) == []
    else:
        await waits_for_the_booking(server, other)
        own = await submit_as(server, "ada", "true")
        assert (await server.ended(own)).status == Task.completed
        await waits_for_the_booking(server, other)


@pytest.mark.parametrize("step", ["ended", "finished"])
async def test_killed_while_it_begins(serve: Serve, processes_backend: Backend, step: str) -> None:
    """The task that makes way ends once, and goes on when the booking is over."""
    preempts = {"FETCHML_SCHEDULING_PREEMPTION": "true"}
    server = await serve(processes_backend, **ONE_GPU, **preempts).start(FETCHML_CRASH_AT=step)
    script = COUNTED + QUICK + f'[ "$FETCHML_ATTEMPT" = 2 ] && exit 0; {until_file("never")}'
    other = await submit_as(server, "bob", script, preemptible=True)
    await server.running(other)
    made = await book(server, 0.5, 600)
    assert await server.died() == -signal.SIGKILL
    await server.start()
    await server.until(other, lambda task: task.status == Task.queued)
    await waits_for_the_booking(server, other)
    own = await submit_as(server, "ada", "true")
    await server.ended(own)
    assert (await server.get(other)).attempt == 1
    removed = await soon(server.rest.ask("DELETE", f"/v1/bookings/{made['id']}"))
    assert removed.status == 204
    task = await server.ended(other)
    assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 0), task
    assert await server.starts(other) == 1, "of the second attempt, whose outputs are kept"


async def test_ends_after_a_kill(serve: Serve, processes_backend: Backend) -> None:
    """The next server has a timer for the end, without any other event."""
    server = await serve(processes_backend, **ONE_GPU).start()
    made = await book(server, 0, 4)
    other = await submit_as(server, "bob", "true")
    await waits_for_the_booking(server, other)
    await server.kill_and_start()
    task = await server.ended(other)
    assert task.status == Task.completed
    assert task.started_at.ToDatetime(UTC) >= datetime.fromisoformat(made["ends_at"])
