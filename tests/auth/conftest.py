import pytest

from tests.support.keys import KeyWorld


@pytest.fixture
def world() -> KeyWorld:
    return KeyWorld()
