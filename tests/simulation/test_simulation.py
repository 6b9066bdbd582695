"""Nothing acknowledged is lost and nothing runs twice, whatever fails: 200 simulated lives of a
server. `python -m tests.simulation SEED` repeats one of them; `make simulate` runs 10,000."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SEEDS, AT_ONCE = 200, 50


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_what_is_promised_is_kept(first: int) -> None:
    seeds = [str(first), str(first + AT_ONCE - 1)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *seeds],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
