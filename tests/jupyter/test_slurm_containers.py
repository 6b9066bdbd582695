"""JupyterLab in containers of Podman on the nodes of a real Slurm."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.slurm import Slurm
from tests.jupyter.conftest import Root
from tests.jupyter.image import changes_of
from tests.jupyter.service import Serve, Service
from tests.jupyter.test_services import (
    test_an_idle_service_is_warned_and_then_stopped as test_warning,
)
from tests.jupyter.test_services import test_files_in_the_workspace_stay as test_files_stay
from tests.jupyter.test_services import test_nothing_opens_without_the_token as test_token
from tests.support.program import Backend
from tests.support.slurm_fixtures import backend_of, podman

__all__ = ["test_files_stay", "test_token", "test_warning"]

IMAGE = "localhost/fetchml-jupyter:1"


@pytest.fixture(scope="module")
def image(jupyter_root: Root) -> Iterator[str]:
    changes = [f"--change={each}" for each in changes_of(jupyter_root.python)]
    podman("import", *changes, str(jupyter_root.archive), IMAGE)
    yield IMAGE
    podman("rmi", "--force", IMAGE)


@pytest.fixture
def jupyter_backend(slurm: Slurm, tmp_path: Path, image: str) -> Backend:
    found = backend_of(slurm, "rest", tmp_path / "shared")
    variables = {
        "FETCHML_SLURM_CONTAINER": "podman",
        "FETCHML_JUPYTER_IMAGES": f"fetchml-test/jupyter:1={image}",
    }
    return replace(found, variables={**found.variables, **variables})


async def test_kernel_runs_in_the_container(serve: Serve, jupyter_backend: Backend) -> None:
    service = await Service.running(await serve(jupyter_backend))
    assert "reason" not in await service.show(), "it is isolated"
    kernel = await service.new_kernel()
    assert await service.run(kernel, "import os; os.getcwd()") == "'/workspace'"
    assert await service.run(kernel, "open('/etc/x', 'w')") == (
        "OSError: [Errno 30] Read-only file system: '/etc/x'"
    )
    for hidden in ("FETCHML_JUPYTER_KEY", "SLURM_JOB_ID"):
        assert await service.run(kernel, f"{hidden!r} in os.environ") == "False"
    await service.stop()
    await service.ended("stopped")
    assert not podman("ps", "--all", "--quiet", f"--filter=label=fetchml.task={service.id}").strip()
