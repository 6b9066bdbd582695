"""grpc-gateway accepts the protos, and the generated gateway serves the contract's paths."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.gateway import program
from tests.support.program import Backend, Server
from tests.support.rest_world import JSON, Client, Reply
from tests.support.server_fixtures import Serve
from tests.support.waiting import SECONDS, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program.install()
    return program.build(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
async def server(
    gateway: Path,
    serve: Serve,
    processes_backend: Backend,
) -> AsyncIterator[Server]:
    """Its REST client speaks to the gateway."""
    server = await serve(processes_backend, FETCHML_TRUSTED_PROXIES="127.0.0.1").start()
    running = await asyncio.create_subprocess_exec(
        str(gateway), server.grpc_address, stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    ready = (await asyncio.wait_for(running.stdout.readline(), SECONDS)).decode()
    server.rest.base = f"http://{ready.strip().partition('=')[2]}"
    yield server
    running.terminate()
    await running.wait()


async def ask(client: Client, method: str, path: str, body: bytes | None = None) -> Reply:
    """The gateway has 200 for what the contract has 201 and 204 for: its replies are looked at
    one by one."""
    headers = client.with_key({**JSON, "Idempotency-Key": "once"})
    async with client.session.request(
        method, client.url(path), data=body, headers=headers
    ) as response:
        return Reply(response.status, response.headers, await response.read())


async def test_gateway_serves_the_contract_paths(server: Server) -> None:
    rest = server.rest
    body = b'{"job_name": "a", "command": ["echo", "said"], "cpu": 1, "unknown": 1}'
    created = await ask(rest, "POST", "/v1/tasks", body)
    assert (created.status, created.json["cpu"]) == (200, 1)
    task_id = created.json["id"]
    assert (await ask(rest, "POST", "/v1/tasks", body)).json["id"] == task_id, (
        "the key is passed on"
    )
    await server.ended(task_id)
    task = (await rest.get(f"/v1/tasks/{task_id}")).json
    assert (task["status"], task["output"]) == ("completed", "said\n")
    listed = (await rest.get("/v1/tasks?status=completed&limit=5")).json
    assert ([one["id"] for one in listed["tasks"]], listed["total"]) == ([task_id], 1)
    assert (await rest.get("/v1/queue")).json["completed"] == 1
    assert (await ask(rest, "GET", "/v1/jupyter/services")).json is None, "an empty list"
    assert (await ask(rest, "GET", "/v1/gpus")).status == 200
    experiment = await ask(rest, "POST", "/v1/experiments", b'{"name": "e"}')
    bare = (await rest.get("/v1/experiments")).json
    assert [one["id"] for one in bare] == [experiment.json["id"]], "the list itself"
    assert (await ask(rest, "DELETE", f"/v1/tasks/{task_id}")).status == 200
    assert (await ask(rest, "GET", f"/v1/tasks/{task_id}")).status == 404


async def test_errors_are_google_rpc_status(server: Server) -> None:
    refused = await ask(server.rest, "POST", "/v1/tasks", b'{"job_name": "a b"}')
    assert (refused.status, refused.json["code"]) == (400, 3)
    info = refused.json["details"][0]
    assert (info["reason"], info["domain"]) == ("VALIDATION_ERROR", "fetchml")
    server.rest.secret = "wrong"
    assert (await ask(server.rest, "GET", "/v1/queue")).status == 401


async def test_server_sees_the_client_address_behind_the_gateway(server: Server) -> None:
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=elsewhere) as session:
        refused = await ask(Client(session, server.rest.base, "wrong"), "GET", "/v1/queue")
    assert refused.status == 401

    async def entries() -> list[dict[str, str]]:
        """The entry follows the reply; until then the gateway leaves the empty list out."""
        listed = await ask(server.rest, "GET", "/v1/audit?action=access.refused")
        found: list[dict[str, str]] = listed.json.get("entries", [])
        return found

    assert [entry["address"] for entry in await until(entries)] == ["127.0.0.2"]
