"""A private Slurm for tests, launchers on it, and servers whose tasks it runs."""

import os
import pwd
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.launcher import SlurmLauncher, SlurmOptions
from fetchml.adapters.slurm.rest import RestTransport
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.adapters.slurm.transport import SlurmTransport
from fetchml.files.shared_disk import SharedFolders
from testbed.slurm import Slurm, private_slurm
from tests.support.program import Backend


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """No test kills its daemons; for that there is `own_slurm`. Priorities of jobs depend on their
    age and `nice` alone."""
    with private_slurm("PriorityType=priority/basic") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def mended_slurm() -> Iterator[Slurm]:
    with private_slurm("MinJobAge=10") as cluster:
        yield cluster


@pytest.fixture
def own_slurm(mended_slurm: Slurm) -> Iterator[Slurm]:
    """A cluster whose daemons the test may kill: they are started again after it."""
    yield mended_slurm
    mended_slurm.repair()


both_transports = pytest.mark.parametrize("transport_name", ["rest", "cli"])
"""For tests of what differs between slurmrestd and the commands."""


@pytest.fixture
def transport_name() -> str:
    return "rest"


def transport_to(cluster: Slurm, name: str) -> SlurmTransport:
    user = pwd.getpwuid(os.geteuid()).pw_name
    if name == "cli":
        return CliTransport(user)
    return RestTransport(cluster.url, user, Tokens(user, None, cluster.jwt_key))


def launcher_on(cluster: Slurm, name: str, shared_dir: Path, watch: SharedFolders) -> SlurmLauncher:
    owner = (os.geteuid(), os.getegid())
    return SlurmLauncher(SlurmOptions(shared_dir), transport_to(cluster, name), watch, owner)


def backend_of(cluster: Slurm, name: str, shared_dir: Path) -> Backend:
    """`shared_dir` is made if it does not exist."""
    shared_dir.mkdir(mode=0o700, exist_ok=True)
    variables = {
        **cluster.variables,
        "FETCHML_LAUNCHER": "slurm",
        "FETCHML_SLURM_TRANSPORT": name,
        "FETCHML_SLURM_URL": cluster.url,
        "FETCHML_SLURM_JWT_KEY": str(cluster.jwt_key),
        "FETCHML_SLURM_SHARED_DIR": str(shared_dir),
        "FETCHML_SLURM_ALLOW_ROOT": "true",
    }
    end_jobs = partial(cluster.cancel_below, shared_dir)
    return Backend(variables, lambda: (), shared_dir, end_jobs)


@pytest.fixture
def commands(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """Slurm's commands in this process's children reach the cluster."""
    for variable, value in slurm.variables.items():
        monkeypatch.setenv(variable, value)
    return slurm
