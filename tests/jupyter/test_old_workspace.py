"""A workspace from before the server had the capabilities of its systemd unit."""

import os
from pathlib import Path

import pytest

from fetchml.config.settings import TaskSettings
from tests.jupyter.service import Service
from tests.support.program import Backend, Server
from tests.support.service_user import ENVIRONMENT, UID, as_the_unit, granted

pytestmark = pytest.mark.slow

WHO = "import os; print(os.getuid())"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_it_goes_to_its_user(
    service_data_dir: Path, jupyter_backend: Backend, docker_group: int
) -> None:
    server = Server(service_data_dir, jupyter_backend, **ENVIRONMENT)
    try:
        await server.start(as_the_unit(docker_group, []))
        before = await Service.running(server, workspace="notes")
        kernel = await before.new_kernel()
        said = await before.run(kernel, f"{WHO}; open('a', 'w').write('1')")
        assert said.split()[0] == str(UID)
        await before.stop()
        await before.ended("stopped")
        await server.stop()
        await server.start(as_the_unit(docker_group, granted(docker=True)))
        after = await Service.running(server, workspace="notes")
        kernel = await after.new_kernel()
        said = await after.run(kernel, f"{WHO}; open('a', 'a').write('2'); print(open('a').read())")
        assert said.split()[:2] == [str(TaskSettings().first_uid), "12"]
        await after.stop()
        await after.ended("stopped")
    finally:
        await server.close()
