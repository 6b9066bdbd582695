"""Fixtures of several files."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.parity_cases import BLOCKED, BOX, CODE, SNAPSHOT
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve


@pytest.fixture
async def parity_server(
    serve: Serve, processes_backend: Backend, tmp_path: Path
) -> AsyncIterator[Server]:
    """With one snapshot, one task that runs for long, and room for none beside it."""
    root = {"FETCHML_DATASETS_ROOT": str(tmp_path / "datasets")}
    server = await serve(processes_backend, **BOX, **BLOCKED, **root).start()
    kept = await server.rest.ask("PUT", "/v1/snapshots", CODE, Content_Type="application/gzip")
    assert kept.json["id"] == SNAPSHOT
    await server.submit_running("sleep 600", job_name="blocker")
    yield server
    assert "Traceback" not in server.log


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Slurm's shared directory."""
    return tmp_path / "shared"


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """Where tasks count their starts."""
    folder = tmp_path / "starts"
    folder.mkdir()
    return folder
