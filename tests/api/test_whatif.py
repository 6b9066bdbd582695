"""`POST /v1/history/replay` with hostile requests. tests/history has what it answers."""

import msgspec
import pytest

from fetchml.core.model import Role
from tests.support import rest_world
from tests.support.rest_world import JSON

PATH = "/v1/history/replay"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2025-10-09T08:53:20"}, "since"),
        ({"until": 5}, "until"),
        ({"since": "2999-01-01T00:00:00Z"}, "since"),
        ({"since": "2025-01-02T00:00:00Z", "until": "2025-01-01T00:00:00Z"}, "since"),
        ({"since": "0000-01-01T00:00:00Z"}, "since"),
        ({"gpus": -1}, "gpus"),
        ({"gpus": 1025}, "gpus"),
        ({"gpus": 1 << 40}, "gpus"),
        ({"gpus": "all"}, "gpus"),
        ({"settings": []}, "settings"),
        ({"settings": {"quotas.user_gpus": 1}}, "settings"),
        ({"settings": {str(n): "1" for n in range(21)}}, "settings"),
        ({"since": None, "gpus": None}, "since"),
    ],
)
async def test_a_wrong_field_is_named(
    rest: rest_world.World, fields: dict[str, object], field: str
) -> None:
    admin = rest.as_(rest.secrets[Role.ADMIN])
    reply = await admin.ask("POST", PATH, msgspec.json.encode(fields), **JSON)
    assert (reply.status, reply.code) == (422, "VALIDATION_ERROR")
    assert field in reply.error


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"\xff"', b"null"])
async def test_what_is_no_object_is_malformed(rest: rest_world.World, body: bytes) -> None:
    admin = rest.as_(rest.secrets[Role.ADMIN])
    reply = await admin.ask("POST", PATH, body, **JSON)
    assert reply.status in {400, 422}


async def test_users_are_refused_whatever_they_send(rest: rest_world.World) -> None:
    for body in (b"{}", b'{"gpus": -1}'):
        reply = await rest.client.ask("POST", PATH, body, **JSON)
        assert (reply.status, reply.code) == (403, "FORBIDDEN")
