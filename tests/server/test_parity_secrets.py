"""REST and gRPC give the same outcome to the same request for a secret, and show no value."""

from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from fetchml.v1 import secret_pb2, task_pb2
from fetchml.v1.secret_pb2_grpc import SecretServiceStub
from tests.server.parity import call, outcome, refused, same
from tests.support.program import Server
from tests.support.rest_world import JSON

VALUE = "value-of-a-secret"
VALUES = {"NUL": "a\0b", "too long": "x" * 65_537, "lines": "a\r\nb\n"}


async def over_grpc(server: Server, method: str, request: Message) -> Any:
    return await outcome(getattr(SecretServiceStub(server.grpc.channel), method)(request))


async def over_rest(server: Server, method: str, path: str, body: Any = None) -> Any:
    headers = {} if body is None else JSON
    data = None if body is None else msgspec.json.encode(body)
    reply = await server.rest.ask(method, path, data, **headers)
    if reply.status == 204:
        return {}
    return same(reply.json) if reply.status == 200 else refused(reply)


def named(outcome: Any) -> Any:
    return outcome["name"] if isinstance(outcome, dict) else outcome


async def test_secrets_have_the_same_outcome(parity_server: Server) -> None:
    server = parity_server
    for what, value in VALUES.items():
        told = await over_rest(server, "PUT", "/v1/secrets/TOKEN", {"value": value})
        request = secret_pb2.SetSecretRequest(name="TOKEN", value=value)
        assert named(told) == named(await over_grpc(server, "SetSecret", request)), what
        assert isinstance(told, dict) == (what == "lines"), what
    for name in ("a-b", "FETCHML_A"):
        told = await over_rest(server, "PUT", f"/v1/secrets/{name}", {"value": VALUE})
        request = secret_pb2.SetSecretRequest(name=name, value=VALUE)
        assert told == await over_grpc(server, "SetSecret", request)
        unknown = secret_pb2.DeleteSecretRequest(name=name)
        told = await over_rest(server, "DELETE", f"/v1/secrets/{name}")
        assert told == await over_grpc(server, "DeleteSecret", unknown)
        assert told.code == "NOT_FOUND"
    assert (await over_rest(server, "PUT", "/v1/secrets/A", {})).code == "VALIDATION_ERROR"
    listed = await over_rest(server, "GET", "/v1/secrets")
    assert [each["name"] for each in listed["secrets"]] == ["TOKEN"]
    assert listed == await over_grpc(server, "ListSecrets", secret_pb2.ListSecretsRequest())
    of = secret_pb2.ListSecretsRequest(user_id="nobody")
    assert (await over_grpc(server, "ListSecrets", of)).get("secrets", []) == []
    assert await over_rest(server, "GET", "/v1/secrets?user_id=nobody") == {"secrets": []}


async def test_tasks_show_names_only(parity_server: Server) -> None:
    server = parity_server
    for name in ("TOKEN", "KEY"):
        await over_rest(server, "PUT", f"/v1/secrets/{name}", {"value": VALUE})
    uses = [{"name": "TOKEN"}, {"name": "KEY", "as": "file"}]
    fields = {"job_name": "a", "secrets": uses}
    by_rest = (await server.rest.submit(fields, "/v1/tasks?view=full")).json
    request = ParseDict({**fields, "view": "FULL"}, task_pb2.CreateTaskRequest())
    by_grpc = await call(server, "CreateTask", request)
    shown = [{"name": "TOKEN", "as": "env"}, {"name": "KEY", "as": "file"}]
    assert by_rest["secrets"] == by_grpc["secrets"] == shown
    reply = await server.rest.get(f"/v1/tasks/{by_rest['id']}?view=full")
    assert VALUE.encode() not in reply.body
    assert "secrets" not in (await server.rest.get(f"/v1/tasks/{by_rest['id']}")).json
    wrong = ParseDict({**fields, "secrets": [{"name": "TOKEN", "as": 9}]}, request.__class__())
    assert "as must be one of env, file" in (await call(server, "CreateTask", wrong)).message
    for name in ("TOKEN", "KEY"):
        assert await over_rest(server, "DELETE", f"/v1/secrets/{name}") == {}
