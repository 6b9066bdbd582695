"""Tasks of a cluster in containers of Podman and Docker, as an account that is not root."""

import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fetchml.adapters.slurm.transports.token import make_token
from testbed import debian
from testbed.account import Account, account
from testbed.slurm import CGROUPS, Slurm
from tests.server import test_slurm_containers as of_root
from tests.server.test_slurm_containers import IMAGE, Containers, write_image
from tests.server.test_slurm_containers import test_ends_are_told_apart as test_ends
from tests.server.test_slurm_containers import test_secrets as test_of_secrets
from tests.server.test_slurm_containers import (
    test_server_restarts_beside_a_container as test_restart,
)
from tests.support.cli_server import FETCHML
from tests.support.commands import ran
from tests.support.other_user import enterable
from tests.support.program import Server
from tests.support.slurm_fixtures import backend_of

__all__ = ["test_ends", "test_of_secrets", "test_restart"]

PACKAGES = (*of_root.PACKAGES, "uidmap", "fuse-overlayfs")


@pytest.fixture(scope="module")
def owner(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The account of the server and its jobs, which has the image in its own store."""
    debian.install(*PACKAGES)
    archive = write_image(tmp_path_factory.mktemp("image"))
    with account() as owner:
        write_token(owner, slurm)
        with archive.open("rb") as file:
            podman(owner, "import", "--change=ENV OF_IMAGE=yes", "-", IMAGE, stdin=file)
        yield owner
        podman(owner, "system", "reset", "--force")


def podman(owner: Account, *words: str, **options: Any) -> str:
    """Run Podman as a job of the account does. Its first container keeps a mount namespace, which
    those after it share."""
    view = ["unshare", "--mount", "sh", "-c", f'{CGROUPS} exec "$@"', "sh"]
    done = ran([*view, *owner.command("podman", *words)], **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def containers(owner: Account) -> Containers:
    return lambda task_id: podman(
        owner, "ps", "--all", "--quiet", f"--filter=label=fetchml.task={task_id}"
    ).strip()


@pytest.fixture
async def server(
    slurm: Slurm, owner: Account, request: pytest.FixtureRequest
) -> AsyncIterator[Server]:
    server = server_of(owner, slurm, owner.make_folder(request.node.name), container="podman")
    yield await server.start()
    await server.close()


def write_token(owner: Account, slurm: Slurm) -> None:
    key = slurm.jwt_key.read_bytes()
    token = make_token(key, owner.name, int(time.time()), 86_400)
    (owner.folder / "token").write_text(token)


def server_of(
    owner: Account, slurm: Slurm, folder: Path, container: str, image: str = IMAGE
) -> Server:
    backend = backend_of(slurm, "rest", folder / "shared")
    shutil.chown(folder / "shared", owner.uid, owner.uid)
    token = (owner.folder / "token").read_text()
    more = {
        "FETCHML_SLURM_ALLOW_ROOT": "false",
        "FETCHML_SLURM_TOKEN_FILE": str(owner.folder / "token"),
        "FETCHML_SLURM_CONTAINER": container,
        "FETCHML_TASKS_IMAGE": image,
        "SLURM_JWT": token,
    }
    given = {name: value for name, value in backend.variables.items() if "JWT" not in name}
    server = Server(folder / "data", replace(backend, variables=given | more))
    server.program = [*enterable(), *owner.command(*FETCHML)]
    return server


async def test_task_runs_in_its_image(
    server: Server, containers: Containers, owner: Account
) -> None:
    await of_root.assert_runs_in_its_image(server, containers, owner.uid)
