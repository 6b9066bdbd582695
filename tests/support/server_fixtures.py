"""Servers on data directories of their own, over plain processes and over containers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testbed.docker_engine import Engine
from testbed.static_uv import download_static_uv
from tests.support.program import Backend, Server

Serve = Callable[..., Server]
"""A server that is not started yet: `serve(backend, FETCHML_…="…")`."""


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Serve]:
    servers: list[Server] = []

    def serve(backend: Backend, **variables: str) -> Server:
        server = Server(folder / f"data{len(servers)}", backend, **variables)
        servers.append(server)
        return server

    try:
        yield serve
    finally:  # Also where the run is interrupted: its tasks are plain processes.
        for server in servers:
            await server.close()


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    async with serving(tmp_path) as serve:
        yield serve


@pytest.fixture
def processes_backend() -> Backend:
    return Backend({"FETCHML_LAUNCHER": "process"}, lambda: ())


@pytest.fixture
def containers_backend(docker_engine: Engine, python_image: str) -> Backend:
    return containers_of(docker_engine, python_image)


def containers_of(engine: Engine, image: str) -> Backend:
    variables = {
        "FETCHML_LAUNCHER": "docker",
        "DOCKER_HOST": engine.host,
        "FETCHML_TASKS_IMAGE": image,
        "FETCHML_TASKS_NETWORK": "none",
    }
    return Backend(variables, lambda: engine.client.containers.list(all=True, ignore_removed=True))


@pytest.fixture(scope="session")
def static_uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return download_static_uv(tmp_path_factory.mktemp("uv"))
