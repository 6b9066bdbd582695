"""The worlds that the tests of both transports live in."""

from collections.abc import AsyncIterator

import pytest

from tests.support.rest_world import World, rest_world


@pytest.fixture
async def rest() -> AsyncIterator[World]:
    async with rest_world() as world:
        yield world
