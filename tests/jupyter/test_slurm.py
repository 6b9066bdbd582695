"""A real JupyterLab on the nodes of a real Slurm, reached through its relay: the suites of Jupyters
on one host, as far as they apply.

Left out of tests/jupyter/test_services.py, with the reasons:
- the hardened container, and `/workspace` in its terminal: it is a plain process of the node.
- the resources that a service and tasks share: Slurm places both.
- what the server alone decides: warnings, what counts as use, shared workspaces, closed sockets.
tests/jupyter/test_many.py counts containers; tests/jupyter/test_browser.py and those of the proxy
end before a link is opened.
"""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fetchml.core.jupyter import SILENT
from testbed.slurm import Slurm
from tests.jupyter.recorder import recorder
from tests.jupyter.service import Serve, Service
from tests.jupyter.test_process import pids_of
from tests.jupyter.test_services import (
    a_service_whose_jupyter_dies_is_in_error,
    large_files_pass_without_taking_memory,
    nothing_opens_without_the_token,
)
from tests.support.program import Backend
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.slow


def jupyter_on(cluster: Slurm, transport: str, shared: Path, command: str) -> Backend:
    found = backend_of(cluster, transport, shared)
    return replace(found, variables={**found.variables, "FETCHML_JUPYTER_COMMAND": command})


@pytest.fixture
def jupyter_backend(slurm: Slurm, jupyter_lab: Path, tmp_path: Path) -> Backend:
    """Under the name that the suite of containers uses."""
    return jupyter_on(slurm, "rest", tmp_path / "shared", str(jupyter_lab))


async def test_service_on_a_node_until_its_jupyter_dies(
    serve: Serve, jupyter_backend: Backend, tmp_path: Path
) -> None:
    service = await Service.running(await serve(jupyter_backend), workspace="ada/thesis")
    assert "nothing isolates" in (await service.show())["reason"]
    shared = tmp_path / "shared"
    kernel = await service.new_kernel()
    workspace = shared / "jupyter/ada/thesis"
    assert await service.run(kernel, "import os; os.getcwd()") == f"'{workspace}'"
    await nothing_opens_without_the_token(service)
    await large_files_pass_without_taking_memory(service)
    await key_of_the_relay_is_in_no_file_that_others_can_read(service, shared)
    await forged_port_gets_nothing_of_anybody(service, shared)
    await a_service_whose_jupyter_dies_is_in_error(service)
    await eventually(lambda: not with_key(shared))


def with_key(shared: Path) -> list[Path]:
    """The files that have a key of a relay."""
    paths = (each for each in shared.rglob("*") if each.is_file())
    return [each for each in paths if b"PRIVATE KEY-----" in each.read_bytes()]


async def key_of_the_relay_is_in_no_file_that_others_can_read(
    service: Service, shared: Path
) -> None:
    assert [oct(path.stat().st_mode) for path in with_key(shared)] == [oct(0o100600)]
    kernel = await service.new_kernel()
    assert await service.run(kernel, "import os; 'FETCHML_JUPYTER_KEY' in os.environ") == "False"


async def forged_port_gets_nothing_of_anybody(service: Service, shared: Path) -> None:
    """The port of another listener on the node, as one that took over a port would be."""
    record = shared / f"tasks/{service.id}/attempts/1/run/relay"
    kernel, true = await service.new_kernel(), record.read_text()
    async with recorder() as heard:
        forged = f"port={heard.port}\n"
        await service.run(kernel, f"open({str(record)!r}, 'w').write({forged!r})")
        await service.server.kill_and_start()
        await soon(heard.came.wait())
        async with service.ask("GET", "/api/status") as reply:
            assert reply.status == 503
        assert (await service.show())["status"] == "starting"
        heard.refuse()
    assert heard.hello_only(), bytes(heard.data)
    record.write_text(true)
    await service.until("running")
    assert await service.run(kernel, "6*7") == "42"


async def test_node_without_jupyter_is_named(serve: Serve, slurm: Slurm, tmp_path: Path) -> None:
    server = await serve(jupyter_on(slurm, "rest", tmp_path / "shared", "no-such-jupyter"))
    service = await Service.start(server)
    await service.ended("error")
    said = "no-such-jupyter: No such file or directory on this node"
    # The last line of its log is read after its end.
    await service.until_shown(lambda shown: said in shown["reason"])


async def test_service_of_a_silent_node_goes_on_until_it_is_stopped(
    serve: Serve, own_slurm: Slurm, jupyter_lab: Path, tmp_path: Path
) -> None:
    backend = jupyter_on(own_slurm, "rest", tmp_path / "shared", str(jupyter_lab))
    server = await serve(backend)
    service = await Service.running(server)
    kernel = await service.new_kernel()
    node = own_slurm.run("squeue", "--noheader", "--format=%N").strip()
    await asyncio.to_thread(own_slurm.lose_node, node)
    shown = await service.until_shown(lambda each: each["reason"] == SILENT)
    assert shown["status"] == "running"
    assert await service.run(kernel, "6*7") == "42", "Slurm has given it up, and it runs"
    # Now the node is reset.
    for pid in pids_of(service):
        os.kill(pid, signal.SIGKILL)
    async with service.ask("GET", "/api/status") as reply:
        assert reply.status == 503
    shown = await service.show()
    assert (shown["status"], shown["reason"]) == ("running", SILENT)
    await service.stop()
    await service.ended("stopped")
