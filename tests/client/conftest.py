"""A live server, a relay that can cut its connections, and the clients of other languages."""

from collections.abc import Iterator

import pytest

from tests.client import programs
from tests.client.programs import Program
from tests.client.relay import Relay
from tests.support.cli_server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server") / "data").start()
    yield started
    assert started.stop() == 0


@pytest.fixture
def key(server: Server) -> str:
    return (server.data_dir / "admin.key").read_text().strip()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    """A relay to the server's gRPC port."""
    made = Relay(server.grpc)
    yield made
    made.close()


@pytest.fixture(scope="session", params=programs.BUILDERS, ids=lambda made: made.__name__)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    build: programs.Builder = request.param
    return build(tmp_path_factory.mktemp(request.param.__name__))
