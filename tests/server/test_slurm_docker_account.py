"""Tasks of a cluster in containers of Docker, as an account that is not root but of its group."""

import grp
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from testbed.account import Account, account
from testbed.docker_engine import Engine
from testbed.slurm import Slurm
from tests.server import test_slurm_containers as of_root
from tests.server.test_slurm_containers import IMAGE, Containers
from tests.server.test_slurm_containers import test_ends_are_told_apart as test_ends
from tests.server.test_slurm_docker import containers, nodes_with
from tests.server.test_slurm_docker import test_container_ends_with_its_job as test_end_of_the_job
from tests.server.test_slurm_rootless import server_of, write_token
from tests.support.program import Server

__all__ = ["containers", "test_end_of_the_job", "test_ends"]


@pytest.fixture(scope="module")
def owner(docker_engine: Engine) -> Iterator[Account]:
    """The account of the server and its jobs."""
    socket = Path(docker_engine.host.removeprefix("unix://"))
    mode = socket.parent.stat().st_mode
    socket.parent.chmod(mode | 0o011)
    with account(grp.getgrgid(socket.stat().st_gid).gr_name) as owner:
        yield owner
    socket.parent.chmod(mode)


@pytest.fixture(scope="module")
def slurm(docker_engine: Engine, owner: Account) -> Iterator[Slurm]:
    folder = owner.folder / "nodes"
    folder.mkdir()
    with nodes_with(docker_engine, folder) as cluster:
        write_token(owner, cluster)
        yield cluster
    docker_engine.client.images.remove(IMAGE, force=True)


@pytest.fixture
async def server(
    slurm: Slurm, owner: Account, request: pytest.FixtureRequest
) -> AsyncIterator[Server]:
    server = server_of(owner, slurm, owner.make_folder(request.node.name), container="docker")
    yield await server.start()
    await server.close()


async def test_task_runs_in_its_image(
    server: Server, containers: Containers, owner: Account
) -> None:
    await of_root.assert_runs_in_its_image(server, containers, owner.uid)
