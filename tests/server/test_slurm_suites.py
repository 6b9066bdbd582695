"""The suites of one host, over a real Slurm: those of their tests that involve a task's life.

Left out, with the reasons:
- tests/server/test_watchers.py: nothing of it reaches a launcher.
- the parity of requests, errors, lists and keys: decided before a launcher is asked. That of one
  task needs it to stay blocked between two questions: a cluster starts it.
- `test_killed_at_each_step` before the end: tests/server/test_slurm.py has those of a cluster; and
  the steps after it at which no cluster is asked.
- `tests/server/test_prestaging.py`, preemption, GPUs: Slurm places tasks, not this server.
- `test_killed_after_a_cancellation_was_acknowledged`: its second task waits for a slot of a host.
- Jupyter services: tests/jupyter/test_slurm.py.
"""

from pathlib import Path

import pytest

from testbed.slurm import Slurm
from tests.server.test_crash import Crashes
from tests.server.test_tiny_tasks import run_tiny
from tests.support.program import Backend
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of

pytestmark = pytest.mark.slow

TINY = 20


@pytest.fixture
def backend(slurm: Slurm, tmp_path: Path) -> Backend:
    return backend_of(slurm, "rest", tmp_path / "shared")


class TestCrashes(Crashes):
    test_killed_after_a_cancellation_was_acknowledged = None  # type: ignore[assignment]

    @pytest.fixture(params=["ended", "removed"])
    def step(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


async def test_tiny_tasks(serve: Serve, backend: Backend) -> None:
    await run_tiny(serve, backend, TINY, slots=TINY, seconds=300)
