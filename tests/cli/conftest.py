"""One server for all tests of client commands, and one that a test may stop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server") / "data").start()
    yield started
    assert started.stop() == 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test starts, stopped after the test if it still runs."""
    made = Server(tmp_path / "data").keep_ports()
    yield made
    if made.process.poll() is None:
        made.stop()
