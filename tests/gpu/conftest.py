"""Servers on hosts with simulated GPUs."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from testbed.gpu.stand_in import GpuBox
from tests.support.program import Backend, Server

LONGER = int(os.environ.get("FETCHML_TEST_LONGER", "1"))
"""So many times as many random schedules as usual."""
MANY = {"FETCHML_TASKS_MAX_RUNNING": "16", "FETCHML_TASKS_GRACE_SECONDS": "1"}

Boxed = Callable[..., Server]
"""A server that is not started yet, on the box with GPUs: over plain processes, or a backend."""


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
