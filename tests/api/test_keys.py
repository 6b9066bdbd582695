"""API keys over REST, as the page's admins use them."""

from fetchml.core.model import Role
from tests.support.rest_world import Client, World


def admin(rest: World) -> Client:
    return rest.as_(rest.secrets[Role.ADMIN])


async def test_created_key_works_until_it_is_revoked(rest: World) -> None:
    created = await admin(rest).submit({"name": "ada", "role": "viewer"}, "/v1/keys")
    assert created.status == 201
    key, secret = created.json["key"], created.json["secret"]
    assert (key["name"], key["role"]) == ("ada", "viewer")
    assert (await rest.as_(secret).get("/v1/tasks")).status == 200

    listed = (await admin(rest).get("/v1/keys")).json["keys"]
    assert key["id"] in [one["id"] for one in listed]
    assert secret not in str(listed)

    for _ in range(2):
        revoked = await admin(rest).ask("POST", f"/v1/keys/{key['id']}/revoke")
        assert revoked.status == 200
        assert "revoked_at" in revoked.json
    assert (await rest.as_(secret).get("/v1/tasks")).status == 401


async def test_key_expires_at_the_given_time(rest: World) -> None:
    request = {"name": "a", "role": "user", "expires_at": "2999-01-01T00:00:00Z"}
    created = await admin(rest).submit(request, "/v1/keys")
    assert created.json["key"]["expires_at"] == "2999-01-01T00:00:00.000Z"


async def test_invalid_key_is_explained(rest: World) -> None:
    for request_body, error in [
        ({}, "name: is required; role: is required"),
        ({"name": 7, "role": "user"}, "name: must be a string"),
        ({"name": "a b", "role": "user"}, "name: must be 1 to 64"),
        ({"name": "x" * 65, "role": "user"}, "name: must not be longer than 64 characters"),
        ({"name": "a", "role": "root"}, "role: must be viewer, user or admin"),
        ({"name": "a", "role": "user", "expires_at": "soon"}, "expires_at: must be a time"),
        ({"name": "a", "role": "user", "expires_at": 5}, "expires_at: must be a string"),
        ({"name": "a", "role": "user", "expires_at": "1999-01-01T00:00:00Z"}, "in the future"),
    ]:
        reply = await admin(rest).submit(request_body, "/v1/keys")
        assert reply.status == 422
        assert error in reply.json["error"]


async def test_unknown_key_is_not_found(rest: World) -> None:
    for key_id in ("a", "%00", "x" * 300):
        assert (await admin(rest).ask("POST", f"/v1/keys/{key_id}/revoke")).status == 404
