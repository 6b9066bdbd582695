"""The audit log over REST and gRPC, and the entries that requests over them create."""

from pathlib import Path

import grpc
import pytest

from fetchml.core.audit import Action
from fetchml.core.model import Role
from fetchml.errors import Forbidden
from fetchml.v1 import audit_pb2, key_pb2, task_pb2
from tests.support.grpc_world import grpc_world
from tests.support.rest_world import World
from tests.support.validate import ROOT, SUPERSET

KEY = "fml_" + "x" * 43


async def test_refused_rest_requests_are_audited(rest: World) -> None:
    await rest.as_(None).get("/v1/queue")
    await rest.as_(KEY).get(f"/v1/tasks/{KEY}?view=full")
    rest.engine.fail(Forbidden("Viewers cannot submit tasks"))
    await rest.client.submit()
    reply = await rest.as_(rest.secrets[Role.ADMIN]).get("/v1/audit")
    viewer, wrong, without = reply.json["entries"]
    assert {entry["action"] for entry in reply.json["entries"]} == {"access.refused"}
    assert {entry["address"] for entry in reply.json["entries"]} == {"127.0.0.1"}
    assert without["detail"] == "GET /v1/queue: Invalid or missing API key"
    assert wrong["detail"] == "GET /v1/tasks/fml_[redacted]: Invalid or missing API key"
    assert (without["outcome"], viewer["outcome"]) == ("UNAUTHORIZED", "FORBIDDEN")
    assert "user_id" not in without
    assert (viewer["user_id"], viewer["detail"]) == (
        "user",
        "POST /v1/tasks: Viewers cannot submit tasks",
    )


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER])
async def test_only_admins_list_the_audit_over_rest(rest: World, role: Role) -> None:
    reply = await rest.as_(rest.secrets[role]).get("/v1/audit")
    assert (reply.status, reply.code) == (403, "FORBIDDEN")
    [entry] = rest.store.audit
    assert (entry.action, entry.user) == (Action.ACCESS_REFUSED, role.value)


async def test_invalid_audit_queries_return_400(rest: World) -> None:
    for query in [
        "limit=0", "limit=1001", "limit=x", "action=x", "before=x", "since=x", "since=2026-01-01",
        "since=2026-13-01T00:00:00Z", "since=2026-01-01T00:00:00", "since=1&since=2",
    ]:  # fmt: skip
        reply = await rest.as_(rest.secrets[Role.ADMIN]).get(f"/v1/audit?{query}")
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        assert reply.error.startswith(query.partition("=")[0])


async def test_audit_query_filters_entries(rest: World) -> None:
    query = "user_id=a&action=key.create&target=b&since=2026-01-01T00:00:00.5%2B01:00&limit=1"
    reply = await rest.as_(rest.secrets[Role.ADMIN]).get(f"/v1/audit?{query}&x=1")
    assert (reply.status, reply.json) == (200, {"entries": []})
    assert reply.headers["X-FetchML-Ignored"] == "x"


async def test_key_changes_and_refusals_are_audited_over_grpc(tmp_path: Path) -> None:
    async with grpc_world(tmp_path) as world:
        async with world.connect(world.secrets[Role.ADMIN]) as admin:
            made = await admin.keys.CreateKey(
                key_pb2.CreateKeyRequest(name="ada", role=key_pb2.Key.viewer),
            )
        async with world.connect(None, local=True) as owner:
            await owner.keys.RevokeKey(key_pb2.RevokeKeyRequest(key_id=made.key.id))
        client = world.client
        with pytest.raises(grpc.aio.AioRpcError):
            await client.audit.ListAudit(audit_pb2.ListAuditRequest())
        with pytest.raises(grpc.aio.AioRpcError):
            await client.tasks.CreateTask(
                task_pb2.CreateTaskRequest(), metadata=(("x-api-key", KEY),)
            )
        async with world.connect(None, local=True) as owner:
            listed = await owner.audit.ListAudit(audit_pb2.ListAuditRequest())
        shown = [(e.action, e.target, e.user_id, e.address, e.outcome) for e in listed.entries]
        key_id = made.key.id
        assert shown == [
            ("access.refused", "", "", "127.0.0.1", "UNAUTHORIZED"),
            ("access.refused", "", "user", "127.0.0.1", "FORBIDDEN"),
            ("key.revoke", key_id, "local", "control socket", "OK"),
            ("key.create", key_id, "admin", "127.0.0.1", "OK"),
        ]
        assert listed.entries[0].detail.startswith("/fetchml.v1.TaskService/CreateTask: ")
        assert listed.entries[3].detail == "viewer ada"


def test_openapi_lists_every_audited_action() -> None:
    assert SUPERSET["components"]["schemas"]["AuditAction"]["enum"] == list(Action)


def test_docs_list_every_audited_action() -> None:
    page = (ROOT / "docs/security.md").read_text()
    assert [action for action in Action if f"`{action}`" not in page] == []
