"""Every test here has Envoy before its servers: the edge, or below transcoded/ the transcoder."""

from collections.abc import AsyncIterator

import pytest

from tests.support.front import EDGE
from tests.support.rest_world import World, rest_world


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = metafunc.definition.get_closest_marker("behind")
    metafunc.parametrize("front", [own.args[0] if own else EDGE], indirect=True)


@pytest.fixture
async def rest() -> AsyncIterator[World]:
    async with rest_world() as world:
        yield world
