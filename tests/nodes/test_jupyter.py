"""JupyterLab in containers on nodes, through the server's proxy."""

import pytest

from tests.jupyter.service import SAVED, Service
from tests.nodes.conftest import in_full
from tests.nodes.means import Means
from tests.support.program import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@in_full
async def test_a_service_from_start_to_end(server: Server, means: Means) -> None:
    service = await Service.running(server, memory_gb=1)
    assert "reason" not in await service.show(), "it is isolated"
    for token in ("", "wrong"):
        async with service.ask("GET", "/api/kernels", token=token) as reply:
            assert reply.status == 403
    kernel = await service.new_kernel()
    assert await service.run(kernel, "import os; os.getcwd(), os.getuid()") == (
        f"('/workspace', {means.uid})"
    )
    for hidden in ("FETCHML_JUPYTER_KEY", "SLURM_JOB_ID"):
        assert await service.run(kernel, f"{hidden!r} in os.environ") == "False"
    assert await service.run(kernel, "kept = open('made', 'w').write('6*7')") == ""
    assert (await service.json("GET", "/api/contents/made"))["content"] == "6*7"
    await service.json("PUT", "/api/contents/a.txt", SAVED)
    await server.kill_and_start(FETCHML_JUPYTER_IDLE_SECONDS="3")
    async with service.in_use():
        assert await service.run(kernel, "kept") == "3", "it was adopted"
    shown = await service.ended("stopped")
    assert shown["reason"] == "idle for 3 s"
    await eventually(lambda: not means.left(service.id))
    [workspace] = (means.folder / "server/shared/jupyter").glob("**/a.txt")
    assert workspace.read_text() == "6*7", "what is in its workspace stays"
