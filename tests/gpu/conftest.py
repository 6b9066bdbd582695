"""A Docker engine that gives GPUs which are described and not there."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from examples.local_image import build_base
from tests.docker.engine import PrivateEngine, private_engine
from tests.gpu.stand_in import GpuBox, uuid
from tests.server.program import Backend, Server

GPUS = 8
LONGER = int(os.environ.get("FETCHML_TEST_LONGER", "1"))
"""So many times as many random schedules as usual."""
PARTS = [f"MIG-{n:08x}" for n in range(2)]
"""MIG devices of the last GPU."""
IMAGE = "python:1"
GREEDY = "greedy:1"
"""An image that asks for all GPUs, as many do."""
MANY = {"FETCHML_TASKS_MAX_RUNNING": "16", "FETCHML_TASKS_GRACE_SECONDS": "1"}

Boxed = Callable[..., Server]
"""A server that is not started yet, on the box with GPUs: over plain processes, or a backend."""


def specification() -> dict[str, Any]:
    """Each GPU by UUID and by index, as nvidia-ctk describes them; each leaves two marks."""
    cards = [(name, n) for n in range(GPUS) for name in (uuid(n), str(n))]
    cards += [(part, GPUS - 1) for part in PARTS]
    edits: dict[str, dict[str, Any]] = {
        name: {
            "deviceNodes": [{"path": f"/dev/nvidia{n}", "hostPath": "/dev/null"}],
            "env": [f"GIVEN_{name.replace('-', '_')}=1"],
        }
        for name, n in cards
    }
    devices = [{"name": name, "containerEdits": edit} for name, edit in edits.items()]
    nodes = [edits[str(n)]["deviceNodes"][0] for n in range(GPUS)]
    devices.append({"name": "all", "containerEdits": {"deviceNodes": nodes}})
    return {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}


@pytest.fixture(scope="session")
def cdi_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    """An engine with CDI, images, and eight GPUs that are described and not there."""
    folder = tmp_path_factory.mktemp("cdi")
    (folder / "nvidia.yaml").write_text(yaml.safe_dump(specification()))
    settings = {"features": {"cdi": True}, "cdi-spec-dirs": [str(folder)]}
    with private_engine(own_network=True, settings=settings) as engine:
        add_images(engine.client)
        yield engine


def add_images(client: docker.DockerClient) -> None:
    build_base(client, IMAGE)
    container = client.containers.create(IMAGE)
    container.commit("greedy", "1", changes="ENV NVIDIA_VISIBLE_DEVICES=all")
    container.remove()


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
