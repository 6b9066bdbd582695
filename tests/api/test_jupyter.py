"""Jupyter services over REST and gRPC, on real sockets."""

from typing import Any

import pytest

from fetchml.core.model import FailureReason, Role, Status
from fetchml.errors import Unavailable
from tests.support import rest_world
from tests.support.front import EDGE
from tests.support.stub_services import PUBLIC_URL

PATH = "/v1/jupyter/services"
LONG: dict[str, Any] = {
    "name": "b",
    "workspace": "team/b",
    "image": "own",
    "cpu": 2,
    "memory_gb": 4,
    "gpu": 1,
}
BASIC = {"id", "name", "status", "url", "token", "created_at"}


async def start(rest: rest_world.World, body: object, view: str = "") -> Any:
    reply = await rest.client.submit(body, PATH + view)
    assert reply.status == 201
    return reply.json


@pytest.mark.fronts(EDGE)
async def test_start_list_get_stop(rest: rest_world.World) -> None:
    first = await start(rest, {"name": "a"})
    assert first.keys() == BASIC
    assert (first["status"], first["url"]) == ("starting", f"{PUBLIC_URL}/jupyter/{first['id']}/")
    second = await start(rest, LONG)
    assert (await rest.client.get(PATH)).json == [second, first]
    one = f"{PATH}/{second['id']}"
    assert (await rest.client.get(one)).json == second
    assert (await rest.client.ask("DELETE", one)).status == 204
    assert (await rest.client.get(one)).json == {**second, "status": "stopping"}
    await rest.services.change(second["id"], status=Status.FAILED, error="cancelled by user")
    del second["token"]
    assert (await rest.client.get(one)).json == {**second, "status": "stopped"}
    assert (await rest.client.ask("DELETE", one)).status == 204


async def test_full_view_adds_fields(rest: rest_world.World) -> None:
    made = await start(rest, LONG, "?view=full")
    assert made.keys() == BASIC | {
        "user_id", "image", "workspace", "cpu", "memory_gb", "gpu", "reason",
    }  # fmt: skip
    assert made["reason"] == "It waits for 1 GPU (0 of 8 free)."
    assert made["user_id"] == "user"
    assert {name: made[name] for name in LONG} == LONG
    assert (await rest.client.get(f"{PATH}/{made['id']}?view=full")).json == made
    assert (await rest.client.get(f"{PATH}?view=full")).json == [made]
    await rest.services.change(
        made["id"],
        status=Status.FAILED,
        attempt=1,
        started_at=1,
        ended_at=2,
        failure_reason=FailureReason.OUT_OF_MEMORY,
        error="used more than its 4 GiB of memory",
    )
    ended = (await rest.client.get(f"{PATH}/{made['id']}?view=full")).json
    assert (ended["status"], ended["reason"]) == ("error", "used more than its 4 GiB of memory")
    assert (ended["started_at"], ended["ended_at"]) == (
        "1970-01-01T00:00:00.001Z",
        "1970-01-01T00:00:00.002Z",
    )


async def test_invalid_requests_are_rejected(rest: rest_world.World) -> None:
    for body, said in (
        ({}, "name: is required"),
        ({"name": "a", "workspace": "../etc"}, "workspace: must be a path below"),
        ({"name": "a", "gpu": 9}, "gpu: requests 9, but this host has 8"),
    ):
        reply = await rest.client.submit(body, PATH)
        assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
        assert said in reply.error
    assert (await rest.client.get(f"{PATH}/nothing")).status == 404
    assert (await rest.client.ask("DELETE", f"{PATH}/nothing")).status == 404
    assert (await rest.client.get(f"{PATH}?view=all")).status == 400
    rest.services.room = Unavailable("The queue is full")
    full = await rest.client.submit({"name": "a"}, PATH)
    assert (full.status, full.code) == (503, "SERVICE_UNAVAILABLE")
    assert (await rest.client.get(PATH)).json == []


async def test_token_is_shown_only_to_owner_and_admin(rest: rest_world.World) -> None:
    made = await start(rest, {"name": "a"})
    viewer, admin = (rest.as_(rest.secrets[role]) for role in (Role.VIEWER, Role.ADMIN))
    assert (await viewer.submit({"name": "a"}, PATH)).status == 403
    assert (await viewer.ask("DELETE", f"{PATH}/{made['id']}")).status == 403
    assert (await viewer.get(f"{PATH}/{made['id']}")).json.keys() == BASIC - {"token"}
    assert [each.keys() for each in (await viewer.get(PATH)).json] == [BASIC - {"token"}]
    assert (await admin.get(f"{PATH}/{made['id']}")).json == made
    assert (await admin.ask("DELETE", f"{PATH}/{made['id']}")).status == 204
