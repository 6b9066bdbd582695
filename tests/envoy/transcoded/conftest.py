from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rest_world import World
from tests.support.transcoded_world import transcoded


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[World]:
    async with transcoded(tmp_path) as world:
        yield world
