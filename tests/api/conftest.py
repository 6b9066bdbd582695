from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import grpc_world
from tests.support.page_browser import Browser
from tests.support.rest_world import World, rest_world


@pytest.fixture
async def rest() -> AsyncIterator[World]:
    async with rest_world() as world:
        yield world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[grpc_world.World]:
    """A gRPC server."""
    async with grpc_world.grpc_world(tmp_path) as world:
        yield world


@pytest.fixture
def browser(rest: World) -> Browser:
    """Reaches the server as localhost, where Jupyter services have origins of their own."""
    return Browser(rest, f"localhost:{rest.port}")


@pytest.fixture
def elsewhere(rest: World) -> Browser:
    """Reaches the server by a name where Jupyter shares its origin."""
    return Browser(rest, f"gpu.example:{rest.port}")
