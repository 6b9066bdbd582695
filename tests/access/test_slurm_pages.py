"""A port of a task on a node of a real Slurm, as a browser uses it."""

import pytest

from tests.access.conftest import Entered
from tests.access.test_browser_ports import port
from tests.access.test_browser_ports import test_a_page_and_its_requests as test_page
from tests.access.test_browser_ports import test_a_websocket as test_websocket

__all__ = ["port", "test_page", "test_websocket"]


@pytest.fixture(scope="session")
def entered(entered_on_slurm: Entered) -> Entered:
    return entered_on_slurm
