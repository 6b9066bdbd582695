"""Client commands against a server whose tasks run on a real Slurm.

A task that ends, one whose code is returned, and one that is cancelled. What else the commands
show of tasks on Slurm is that of the API (tests/server/test_slurm.py).
"""

from collections.abc import Iterator

import pytest

from testbed.slurm import Slurm
from tests.cli.test_commands import (
    test_a_task_from_submit_to_rm,
    test_interrupted_wait_leaves_the_task_running,
    test_wait_shows_the_log_and_exits_with_the_tasks_exit_code,
)
from tests.support.cli_server import Server
from tests.support.slurm_fixtures import backend_of

pytestmark = pytest.mark.slow

__all__ = [
    "test_a_task_from_submit_to_rm",
    "test_interrupted_wait_leaves_the_task_running",
    "test_wait_shows_the_log_and_exits_with_the_tasks_exit_code",
]


@pytest.fixture(scope="module")
def server(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("slurm")
    variables = {**backend_of(slurm, "cli", folder / "shared").variables}
    started = Server(folder / "data", launcher="slurm", **variables).start()
    yield started
    assert started.stop() == 0


def test_gpus_shows_the_nodes(server: Server) -> None:
    shown = server.run("gpus").succeeded()
    assert "NODE" in shown
    assert "0 of 2" in shown
    assert "3 of 3 nodes take work" not in shown
    found = server.json("gpus", "-o", "json")
    assert [node["name"] for node in found["nodes"]] == ["c3", "g1", "g2"]
    assert "c3" in server.run("top").succeeded()
    refused = server.run("gpu", "drain", "0")
    assert (refused.code, "administrators" in refused.err) == (4, True)
