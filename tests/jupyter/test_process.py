"""A real JupyterLab as a plain process, where the server has no containers."""

import os
from pathlib import Path

import pytest

from fetchml.system import processes
from tests.jupyter.service import SAVED, Serve, Service
from tests.support.program import Backend
from tests.support.waiting import eventually


@pytest.fixture
def backend(jupyter_lab: Path) -> Backend:
    variables = {"FETCHML_LAUNCHER": "process", "FETCHML_JUPYTER_COMMAND": str(jupyter_lab)}
    return Backend(variables, lambda: ())


def pids_of(service: Service) -> list[int]:
    mark = f"FETCHML_TASK_ID={service.id}"
    return [pid for pid in processes.pids() if mark in processes.environment(pid)]


async def test_from_start_to_stop(serve: Serve, backend: Backend, jupyter_lab: Path) -> None:
    server = await serve(backend)
    service = await Service.running(server, workspace="ada/thesis")
    shown = await service.show()
    assert "nothing isolates" in shown["reason"]
    assert "nothing isolates" in server.log
    workspace = (backend.tasks_dir or server.data_dir) / "jupyter" / "ada" / "thesis"
    kernel = await service.new_kernel()
    assert await service.run(kernel, "import os; os.getcwd()") == f"'{workspace}'"
    assert await service.run(kernel, "import sys; sys.executable") == (
        f"'{jupyter_lab.with_name('python')}'"
    )
    assert await service.run(kernel, "'FETCHML_ADMIN_KEY' in os.environ") == "False"
    await service.json("PUT", "/api/contents/a.txt", SAVED)
    assert (workspace / "a.txt").read_text() == "6*7"
    async with service.ask("GET", "/lab") as reply:
        assert reply.status == 200
        assert "/.fetchml/notice.js" in await reply.text()
    for token in ("", "wrong"):
        async with service.ask("GET", "/api/kernels", token=token) as reply:
            assert reply.status == 403
    await service.run(kernel, "import os; kept = os.getpid()")
    pid = int(await service.run(kernel, "kept"))
    await server.kill_and_start()
    await service.until("running")
    assert await service.run(kernel, "kept") == str(pid), "the next server adopts it"
    await service.stop()
    await service.ended("stopped")
    await eventually(lambda: not processes.find(pid))
    assert (workspace / "a.txt").exists(), "what is in its workspace stays"


async def test_a_start_without_jupyter_installed_is_rejected(serve: Serve) -> None:
    missing = {"FETCHML_LAUNCHER": "process", "FETCHML_JUPYTER_COMMAND": "no-such-jupyter lab"}
    server = await serve(Backend(missing, lambda: ()), PATH=os.environ["PATH"])
    body = b'{"name": "a"}'
    reply = await server.rest.ask(
        "POST", "/v1/jupyter/services", body, Content_Type="application/json"
    )
    assert (reply.status, reply.json["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "pip install jupyterlab" in reply.json["error"]
