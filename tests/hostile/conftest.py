from collections.abc import Iterator
from contextlib import ExitStack

import pytest


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Closes its connections after the test."""
    with ExitStack() as stack:
        yield stack
