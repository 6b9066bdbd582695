"""A Docker engine with described GPUs instead of real ones."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import yaml

from testbed.docker_engine import PrivateEngine, private_engine
from testbed.gpu.cdi import add_images, specification
from testbed.gpu.stand_in import GpuBox
from tests.support.program import Backend, Server

LONGER = int(os.environ.get("FETCHML_TEST_LONGER", "1"))
"""So many times as many random schedules as usual."""
MANY = {"FETCHML_TASKS_MAX_RUNNING": "16", "FETCHML_TASKS_GRACE_SECONDS": "1"}

Boxed = Callable[..., Server]
"""A server that is not started yet, on the box with GPUs: over plain processes, or a backend."""


@pytest.fixture(scope="session")
def cdi_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    """An engine with CDI, images, and eight GPUs that are described and not there."""
    folder = tmp_path_factory.mktemp("cdi")
    (folder / "nvidia.yaml").write_text(yaml.safe_dump(specification()))
    settings = {"features": {"cdi": True}, "cdi-spec-dirs": [str(folder)]}
    with private_engine(own_network=True, settings=settings) as engine:
        add_images(engine.client)
        yield engine


@pytest.fixture
async def boxed(tmp_path: Path, gpu_box: GpuBox) -> AsyncIterator[Boxed]:
    servers: list[Server] = []

    def boxed(backend: Backend | None = None, **variables: str) -> Server:
        plain = Backend({"FETCHML_LAUNCHER": "process"}, lambda: ())
        library = {"LD_LIBRARY_PATH": str(gpu_box.folder)}
        server = Server(tmp_path / "data", backend or plain, **library, **{**MANY, **variables})
        servers.append(server)
        return server

    yield boxed
    for server in servers:
        await server.close()
