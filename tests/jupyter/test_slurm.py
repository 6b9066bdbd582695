"""A real JupyterLab on the nodes of a real Slurm, reached through its relay."""

from dataclasses import replace
from pathlib import Path

import pytest

from testbed.slurm import Slurm
from tests.jupyter.test_process import (
    test_a_killed_server_adopts_its_service_again as test_adoption,
)
from tests.jupyter.test_process import test_an_idle_service_is_stopped_with_its_kernels as test_idle
from tests.jupyter.test_process import test_from_start_to_stop as test_start_to_stop
from tests.jupyter.test_process import (
    test_two_services_share_a_workspace_and_nothing_else as test_two_services,
)
from tests.support.program import Backend
from tests.support.slurm_fixtures import backend_of

__all__ = ["test_adoption", "test_idle", "test_start_to_stop", "test_two_services"]


@pytest.fixture
def backend(slurm: Slurm, transport_name: str, jupyter_lab: Path, tmp_path: Path) -> Backend:
    on_slurm = backend_of(slurm, transport_name, tmp_path / "shared")
    variables = {**on_slurm.variables, "FETCHML_JUPYTER_COMMAND": str(jupyter_lab)}
    return replace(on_slurm, variables=variables)
