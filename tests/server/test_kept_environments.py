"""`fetchml env`, `/v1/environments` and `EnvironmentService` of a private server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from fetchml.core.model import Role
from fetchml.v1 import environment_pb2
from fetchml.v1.environment_pb2_grpc import EnvironmentServiceStub
from tests.server.environment_tasks import WANTED, ended, pinned, wheel
from tests.server.parity import Outcome, outcome, refused, same
from tests.support import grpc_world, rest_world
from tests.support.archives import archive
from tests.support.cli_server import FETCHML, environment
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon, until

pytestmark = pytest.mark.slow

SHOW = b"import tiny; print(tiny.WHAT)"
ListRequest = environment_pb2.ListEnvironmentsRequest


class User:
    """A user's key and clients."""

    def __init__(
        self, secret: str, clients: tuple[rest_world.Client, grpc_world.Client], server: Server
    ) -> None:
        self.secret = secret
        self.rest, self.grpc = clients
        self.server = server

    async def build(self, version: str, script: str = "python train.py") -> str:
        """Submit a task with an environment; returns its id."""
        code = archive({"requirements.txt": pinned(version), "train.py": SHOW})
        kept = await self.rest.ask("PUT", "/v1/snapshots", code)
        request = {"job_name": "a", "snapshot_id": kept.json["id"], "environment": WANTED}
        done = await self.rest.submit({**request, "command": ["sh", "-c", script]})
        assert done.status == 201, done.json
        return str(done.json["id"])

    async def over_grpc(self, method: str, request: Message) -> Any:
        return await outcome(getattr(EnvironmentServiceStub(self.grpc.channel), method)(request))

    async def both_list(self, query: str = "", **fields: Any) -> Any:
        reply = await self.rest.get(f"/v1/environments{query}")
        told = same(reply.json) if reply.status == 200 else refused(reply)
        over_grpc = await self.over_grpc("ListEnvironments", ListRequest(**fields))
        if isinstance(over_grpc, dict):
            over_grpc.setdefault("environments", [])
            for each in over_grpc["environments"]:  # int64 is a string in protobuf's JSON.
                each.update(bytes=int(each["bytes"]), files=int(each["files"]))
        assert told == over_grpc
        return told

    async def both_refuse_to_delete(self, environment_id: str) -> Outcome:
        told = refused(await self.rest.ask("DELETE", f"/v1/environments/{environment_id}"))
        request = environment_pb2.DeleteEnvironmentRequest(environment_id=environment_id)
        assert await self.over_grpc("DeleteEnvironment", request) == told
        return told

    async def run(self, *command: str) -> tuple[int, str]:
        """Exit code and output of `fetchml env …`."""
        variables = {"FETCHML_SERVER": self.server.grpc_address, "FETCHML_API_KEY": self.secret}
        process = await asyncio.create_subprocess_exec(
            *(*FETCHML, "env", *command),
            env=environment(**variables, COLUMNS="200"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await soon(process.communicate())
        return process.returncode or 0, out.decode()


async def user(server: Server, name: str, role: Role = Role.USER) -> User:
    secret = await server.key(name, role)
    return User(secret, await server.clients(secret), server)


@pytest.fixture
async def server(serve: Serve, processes_backend: Backend, tmp_path: Path) -> Server:
    for version in ("1.0", "2.0"):
        wheel(tmp_path / "wheels", version)
    settings = {"FETCHML_ENVIRONMENTS_FIND_LINKS": str(tmp_path / "wheels")}
    return await serve(processes_backend, FETCHML_AUTH_PRIVATE="true", **settings).start()


async def test_users_see_and_remove_their_own(server: Server) -> None:
    ada, bob, root = [
        await user(server, name, role)
        for name, role in (("ada", Role.USER), ("bob", Role.USER), ("root", Role.ADMIN))
    ]
    assert await ada.both_list() == {"environments": [], "total": 0}
    assert (await ended(server, await ada.build("1.0")))["status"] == "completed"
    holds = await bob.build("1.0", "echo held; sleep 600")
    await server.running(holds)
    [hers] = (await ada.both_list())["environments"]
    [his] = (await bob.both_list())["environments"]
    assert hers["id"] != his["id"]
    assert (hers["user_id"], hers["kind"], hers["path"], hers["tasks"]) == (
        *("ada", "requirements", "requirements.txt"),
        0,
    )
    assert hers["bytes"] > 0
    assert hers["created_at"] <= hers["last_used_at"]
    assert his["tasks"] == 1
    # Nothing of hers in anything that Bob gets, whatever he asks for.
    for query, fields in (
        ("?user_id=ada", {"user_id": "ada"}),
        ("?offset=1", {"offset": 1}),
        ("?limit=0", {"limit": 0}),
    ):
        assert (await bob.both_list(query, **fields))["environments"] == []
    assert (await bob.both_list("?limit=1001", limit=1001)).code == "BAD_REQUEST"
    unknown = "0" * 64
    foreign = await bob.both_refuse_to_delete(hers["id"])
    nobodys = await bob.both_refuse_to_delete(unknown)
    assert (foreign.code, nobodys.code) == ("NOT_FOUND", "NOT_FOUND")
    assert foreign.message.replace(hers["id"], unknown) == nobodys.message
    assert (await bob.both_refuse_to_delete(his["id"])).code == "CONFLICT"
    assert {each["id"] for each in (await root.both_list())["environments"]} == {
        hers["id"],
        his["id"],
    }
    # The same on the command line.
    code, shown = await ada.run("ls")
    assert code == 0
    assert hers["id"][:12] in shown
    assert "requirements requirements.txt" in shown
    assert his["id"][:12] not in shown
    assert (await bob.run("rm", hers["id"]))[0] == 5
    code, shown = await bob.run("rm", his["id"][:12])
    assert (code, "in use by tasks" in shown) == (6, True)
    assert await ada.run("rm", hers["id"][:12]) == (0, f"{hers['id'][:12]} is removed\n")
    assert (await ada.both_list())["total"] == 0
    # It is built again, and Bob's goes when his task has ended.
    assert (await ended(server, await ada.build("1.0")))["status"] == "completed"
    assert (await ada.both_list())["total"] == 1
    await bob.rest.ask("DELETE", f"/v1/tasks/{holds}")

    async def removed() -> int:
        path = f"/v1/environments/{his['id']}"
        return (await bob.rest.ask("DELETE", path)).status

    assert await until(removed, lambda status: status != 409) == 204
    audit = (await root.rest.get("/v1/audit?limit=1000")).json["entries"]
    done = [each["target"] for each in audit if each["action"] == "environment.delete"]
    assert done == [his["id"], hers["id"]]
