"""`fetchml env` lists and removes environments that a real uv has built."""

import asyncio
from pathlib import Path

import pytest

from tests.server.environment_tasks import SHOW, ended, pinned, submit, upload, wheel
from tests.support.cli_server import FETCHML, environment
from tests.support.program import ADMIN_KEY, Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon

pytestmark = pytest.mark.slow


async def run(server: Server, *command: str) -> tuple[int, str]:
    """Exit code and output of `fetchml env …`."""
    variables = {"FETCHML_SERVER": server.grpc_address, "FETCHML_API_KEY": ADMIN_KEY}
    process = await asyncio.create_subprocess_exec(
        *(*FETCHML, "env", *command),
        env=environment(**variables, COLUMNS="200"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await soon(process.communicate())
    return process.returncode or 0, out.decode()


async def test_environments_are_listed_and_removed(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> None:
    wheel(tmp_path / "wheels", "1.0")
    links = {"FETCHML_ENVIRONMENTS_FIND_LINKS": str(tmp_path / "wheels")}
    server = await serve(processes_backend, **links).start()
    code = await upload(server, requirements_txt=pinned("1.0"), train_py=SHOW)
    holds = await submit(server, code, command=["sh", "-c", "echo held; sleep 600"])
    await server.running(holds)
    [kept] = (await server.rest.get("/v1/environments")).json["environments"]
    assert (kept["user_id"], kept["kind"], kept["tasks"]) == ("admin", "requirements", 1)
    exit_code, shown = await run(server, "ls")
    assert (exit_code, kept["id"][:12] in shown) == (0, True)
    assert "requirements requirements.txt" in shown
    exit_code, shown = await run(server, "rm", kept["id"][:12])
    assert (exit_code, "in use by tasks" in shown) == (6, True)
    await server.rest.ask("DELETE", f"/v1/tasks/{holds}")
    await ended(server, holds)
    await server.assert_idle(holds)
    assert await run(server, "rm", kept["id"][:12]) == (0, f"{kept['id'][:12]} is removed\n")
    assert (await run(server, "rm", kept["id"]))[0] == 5
    audit = (await server.rest.get("/v1/audit?limit=1000")).json["entries"]
    done = [each["target"] for each in audit if each["action"] == "environment.delete"]
    assert done == [kept["id"]]
