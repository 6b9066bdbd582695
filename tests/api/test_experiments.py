"""Experiments over REST and gRPC, on real sockets."""

from typing import Any

from fetchml.core.model import Role, Status
from tests.support import rest_world

PATH = "/v1/experiments"
KNOWN_SNAPSHOT = "5" * 64
FULL = {"name": "a", "description": "what it is about", "commit_id": KNOWN_SNAPSHOT}


async def create(rest: rest_world.World, body: object) -> Any:
    reply = await rest.client.submit(body, PATH)
    assert reply.status == 201
    return reply.json


async def test_create_list_get_archive_delete(rest: rest_world.World) -> None:
    await rest.engine.add_snapshot(KNOWN_SNAPSHOT)
    first = await create(rest, {"name": "first"})
    second = await create(rest, FULL)
    assert first.keys() == {"id", "name", "created_at", "status"}
    assert second == {**first, **second, "name": "a", "commit_id": KNOWN_SNAPSHOT}
    assert (await rest.client.get(PATH)).json == [second, first]
    one = f"{PATH}/{second['id']}"
    assert (await rest.client.get(one)).json == second
    archived = await rest.client.ask("POST", f"{one}/archive")
    assert archived.json == {**second, "status": "archived"}
    assert (await rest.client.get(one)).json == archived.json
    assert (await rest.client.ask("DELETE", one)).status == 204
    assert (await rest.client.ask("DELETE", one)).status == 404
    assert (await rest.client.get(one)).status == 404
    assert (await rest.client.ask("POST", f"{one}/archive")).status == 404
    assert (await rest.client.get(PATH)).json == [first]


async def test_full_view_adds_fields(rest: rest_world.World) -> None:
    await rest.engine.add_snapshot(KNOWN_SNAPSHOT)
    reply = await rest.client.submit(FULL, f"{PATH}?view=full")
    full = reply.json
    assert (full["description"], full["user_id"]) == ("what it is about", "user")
    assert full["counts"] == dict.fromkeys(Status, 0)
    assert (await rest.client.get(f"{PATH}?view=full")).json == [full]
    one = f"{PATH}/{full['id']}"
    assert (await rest.client.get(f"{one}?view=full")).json == full
    assert (await rest.client.ask("POST", f"{one}/archive?view=full")).json["user_id"] == "user"
    assert (await rest.client.get(f"{PATH}?view=more")).status == 400


async def test_invalid_requests_are_rejected(rest: rest_world.World) -> None:
    for body, message in (
        ({}, "name: is required"),
        ({"name": "x" * 129}, "name: must not be longer than 128 characters"),
        ({"name": "a", "description": None}, "description: must not be null: leave it out"),
        ({"name": "a", "commit_id": "unknown"}, "commit_id: snapshot not found"),
    ):
        reply = await rest.client.submit(body, PATH)
        assert (reply.status, reply.code, reply.error) == (422, "VALIDATION_ERROR", message)
    assert (await rest.client.ask("POST", PATH, b"{", **rest_world.JSON)).status == 400
    viewer = rest.as_(rest.secrets[Role.VIEWER])
    assert (await viewer.submit({"name": "a"}, PATH)).status == 403
    assert (await rest.as_(None).get(PATH)).status == 401
    assert (await rest.client.get(PATH)).json == []


async def test_ignored_fields_are_listed(rest: rest_world.World) -> None:
    reply = await rest.client.submit({"name": "a", "nmae": "b"}, f"{PATH}?x=1")
    assert reply.headers["X-FetchML-Ignored"] == "x, nmae"
