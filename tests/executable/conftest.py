"""The executable under test: `make build` makes it, FETCHML_PROGRAM may name another."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.executable.bare_debians import (  # fixtures
    debian,  # noqa: F401
    inside,  # noqa: F401
    portable,  # noqa: F401
    serve_inside,  # noqa: F401
)
from tests.support.cli_server import Server

ROOT = Path(__file__).parents[2]
Start = Callable[..., Server]


@pytest.fixture(scope="session")
def executable() -> str:
    file = Path(os.environ.get("FETCHML_PROGRAM") or ROOT / "build/dist/fetchml")
    assert file.exists(), f"{file} is missing: run make build"
    return str(file)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the executable unpacks itself."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def start(executable: str, tmp_path: Path, temporary: Path) -> Iterator[Start]:
    """Servers; ended after the test if they still run."""
    servers: list[Server] = []

    def start(name: str = "data", **variables: str) -> Server:
        given = {"TMPDIR": str(temporary), **variables}
        server = Server(tmp_path / name, program=[executable], **given)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
