"""Tasks in containers of Podman on nodes of a real Slurm are entered as those of one host."""

import tarfile
from collections.abc import Iterator

import pytest

from examples.local_image import CHANGES, fill, find_python
from testbed import debian
from testbed.slurm import Slurm
from tests.access.conftest import Entered, on_slurm
from tests.access.test_exec import test_it_ends_with_the_task as test_end_of_the_task
from tests.access.test_exec import test_it_runs_as_the_task_does as test_as_the_task_does
from tests.access.test_exec import test_streams_and_exit_code as test_streams
from tests.access.test_ports import port
from tests.access.test_ports import test_bytes_both_ways_and_the_end_of_one as test_port
from tests.support.slurm_fixtures import podman

__all__ = ["port", "test_as_the_task_does", "test_end_of_the_task", "test_port", "test_streams"]

IMAGE = "localhost/fetchml-entered:1"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("image")
    (folder / "packages").mkdir()
    with debian.no_installation(), tarfile.open(folder / "image.tar", "w") as tar:
        fill(tar, find_python(), folder / "packages")
    podman("import", *(f"--change={each}" for each in CHANGES), str(folder / "image.tar"), IMAGE)
    yield IMAGE
    podman("rmi", "--force", IMAGE)


@pytest.fixture(scope="session")
def entered(
    slurm: Slurm, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Entered]:
    folder = tmp_path_factory.mktemp("entered")
    more = {"FETCHML_SLURM_CONTAINER": "podman", "FETCHML_TASKS_IMAGE": image}
    with on_slurm(slurm, folder, "cli", **more) as box:
        yield box


def test_it_is_in_the_container(entered: Entered) -> None:
    assert entered.exec("cat /proc/1/comm; pwd; touch /etc/x")[1] == "shim\n/workspace\n"
