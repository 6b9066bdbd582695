"""Servers whose Jupyters run in real containers."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from testbed.docker_engine import Engine
from tests.jupyter.image import NAME, import_root
from tests.jupyter.installed import install_jupyterlab
from tests.jupyter.proxy_world import world as world  # noqa: PLC0414 - a fixture
from tests.jupyter.service import Serve, Service
from tests.jupyter.stand_in import stand_in as stand_in  # noqa: PLC0414 - a fixture
from tests.support.program import Backend, Server
from tests.support.server_fixtures import containers_of


@pytest.fixture(scope="session")
def jupyter_backend(docker_engine: Engine, request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The image of JupyterLab; one that existed before the tests stays."""
    images = docker_engine.client.images
    try:
        images.get(NAME)
        made = False
    except ImageNotFound:
        root = request.getfixturevalue("jupyter_root")
        import_root(docker_engine.client, root.archive, root.python)
        made = True
    yield containers_of(docker_engine, NAME)
    if made:
        images.remove(NAME, force=True)


@pytest.fixture(scope="session")
def jupyter_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_jupyterlab(tmp_path_factory.mktemp("jupyterlab"))


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    servers: list[Server] = []

    async def serve(backend: Backend, **variables: str) -> Server:
        variables = {"FETCHML_TASKS_GRACE_SECONDS": "2", **variables}
        server = Server(tmp_path / f"data{len(servers)}", backend, **variables)
        servers.append(server)
        return await server.start()

    yield serve
    for server in servers:
        await server.close()


@pytest.fixture
async def service(serve: Serve, jupyter_backend: Backend) -> Service:
    return await Service.running(await serve(jupyter_backend))
