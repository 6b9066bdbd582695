from collections.abc import AsyncIterator

import pytest

from tests.support.slurm_world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.follower.open()
    yield world
    await world.follower.close()
