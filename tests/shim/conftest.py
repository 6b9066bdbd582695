from pathlib import Path

import pytest

from tests.shim.attempt import Attempt


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)
