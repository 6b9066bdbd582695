"""In CI, a property test gets the same inputs whatever other modules of the project contain."""

import os
import sys
from pathlib import Path

from tests.support.commands import ran

DRAWS = """
import hashlib
import sys

from hypothesis import given, settings, strategies as st

from tests.support.repeatable import repeat_inputs

repeat_inputs()
sys.path.insert(0, sys.argv[1])
import constants  # noqa: F401

drawn = hashlib.sha256()


@settings(max_examples=200)
@given(st.text(), st.integers())
def draw(text: str, number: int) -> None:
    drawn.update(repr((text, number)).encode())


draw()
print(drawn.hexdigest())
"""


def draws(folder: Path, constants: str) -> str:
    """Return a digest of what a property draws beside a module with these constants."""
    folder.mkdir()
    (folder / "constants.py").write_text(constants)
    (folder / "draws.py").write_text(DRAWS)
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(Path(__file__).parents[2])}
    return ran([sys.executable, folder / "draws.py", folder], cwd=folder, env=environment).stdout


def test_inputs_do_not_depend_on_other_modules(tmp_path: Path) -> None:
    first = draws(tmp_path / "a", "NUMBERS = [12345, 678901]\n")
    assert len(first) == 65
    assert draws(tmp_path / "b", "TEXTS = ['one', 'two']\n") == first
