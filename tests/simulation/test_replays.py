"""A replay with nothing changed gives back the recorded starts."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LAST = 9


def test_starts_of_simulated_servers_come_back() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.replays", "0", str(LAST)],
        capture_output=True,
        text=True,
        check=False,
        # Sets of texts have another order in each process.
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 2 * (LAST + 1)
    assert all(starts == same for _, starts, same, _ in lines), done.stdout
