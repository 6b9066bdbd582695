"""Clients of REST, a server of gRPC, and Envoy's transcoder between them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from fetchml.auth.limits import RateLimiter
from fetchml.config.proxies import Proxies
from fetchml.core.model import Role
from testbed import envoy as proxy
from tests.support import front, rest_world
from tests.support.grpc_world import grpc_world


@pytest.fixture(scope="session")
def transcoder(
    files: Path, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[proxy.Envoy]:
    folder = tmp_path_factory.mktemp("transcoder")
    with proxy.running("transcoder.yaml", folder, files, ports, plain=True) as envoy:
        yield envoy


@pytest.fixture(autouse=True)
def through_the_edge(
    transcoder: proxy.Envoy, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of the edge: all clients are before the transcoder."""
    address = f"127.0.0.1:{transcoder.ports[proxy.PLAIN]}"
    monkeypatch.setattr(front.PLACE, "front", front.Front(0, ports["grpc"], address))


@asynccontextmanager
async def transcoded(
    folder: Path, limiter: RateLimiter | None = None, proxies: Proxies | None = None
) -> AsyncIterator[rest_world.World]:
    """The world of the REST suites. Its server speaks gRPC only."""
    async with (
        grpc_world(folder, limiter, proxies) as world,
        aiohttp.ClientSession(skip_auto_headers=("Content-Type",)) as session,
    ):
        client = rest_world.Client(session, f"http://{world.address}", world.secrets[Role.USER])
        yield rest_world.World(
            world.engine,
            world.server,  # type: ignore[arg-type]  # to be stopped; it is all that tests ask of it
            world.keyring,
            world.store,
            int(world.address.rpartition(":")[2]),
            world.secrets,
            client,
            world.services,
            world.box,
        )


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[rest_world.World]:
    async with transcoded(tmp_path) as world:
        yield world
