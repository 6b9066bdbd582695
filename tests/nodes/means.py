"""The ways in which nodes run images: a program, and the account of the server and its jobs."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fetchml.adapters.slurm.tokens import make_token
from testbed.account import Account, account
from testbed.pyxis import plugin as pyxis
from testbed.slurm import CGROUPS, Slurm
from tests.jupyter.image import NAME as JUPYTER
from tests.nodes.cluster import Archive, Nodes
from tests.support.cli_server import FETCHML
from tests.support.commands import ran
from tests.support.other_user import enterable
from tests.support.program import Backend, Server
from tests.support.slurm_fixtures import backend_of


@dataclass(frozen=True)
class Means:
    name: str
    """The value of `[slurm] container`."""
    nodes: Nodes
    owner: Account | None
    """`None`: root."""
    folder: Path
    """Of the account."""
    image: str
    """A small one."""
    jupyter: str
    """The image of JupyterLab."""
    left: Callable[[str], str]
    """Lists the containers of a task, running or not, where the program keeps them."""

    @property
    def uid(self) -> int:
        return os.geteuid() if self.owner is None else self.owner.uid

    def backend(self, shared_dir: Path, transport: str = "rest") -> Backend:
        backend = backend_of(self.nodes.slurm, transport, shared_dir)
        given = dict(backend.variables)
        if self.owner is not None:
            shutil.chown(shared_dir, self.owner.uid, self.owner.uid)
            del given["FETCHML_SLURM_JWT_KEY"]
            token = self.folder / "token"
            given["FETCHML_SLURM_TOKEN_FILE"] = str(token)
            given["FETCHML_SLURM_ALLOW_ROOT"] = "false"
            given["SLURM_JWT"] = token.read_text()
        given["FETCHML_SLURM_CONTAINER"] = self.name
        given["FETCHML_TASKS_IMAGE"] = self.image
        given["FETCHML_TASKS_ALLOW_IMAGES"] = "* /*"
        given["FETCHML_JUPYTER_IMAGES"] = f"{JUPYTER}={self.jupyter}"
        return replace(backend, variables=given)

    def make_folder(self, name: str) -> Path:
        if self.owner is not None:
            return self.owner.make_folder(name)
        folder = self.folder / name
        folder.mkdir()
        return folder

    def server(self, folder: Path, transport: str = "rest", **variables: str) -> Server:
        """A server that is not started yet. `folder`: of the account."""
        server = Server(folder / "data", self.backend(folder / "shared", transport), **variables)
        if self.owner is not None:
            server.program = [*enterable(), *self.owner.command(*FETCHML)]
        return server


def podman(owner: Account | None, *words: str, **options: Any) -> str:
    """Run Podman as a job of the account does. Its first container keeps a mount namespace, which
    those after it share."""
    command = ["podman", *words]
    if owner is not None:
        view = ["unshare", "--mount", "sh", "-c", f'{CGROUPS} exec "$@"', "sh"]
        command = [*view, *owner.command(*command)]
    done = ran(command, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _in_podman(owner: Account | None, archive: Archive) -> str:
    name = f"localhost/fetchml-nodes-{archive.name}:{os.getpid()}"
    changes = [f"--change={each}" for each in _single(archive)]
    with archive.tar.open("rb") as file:
        podman(owner, "import", *changes, "-", name, stdin=file)
    return name


def _single(archive: Archive) -> Iterator[str]:
    """One variable a line: Podman takes the rest for the first one's value."""
    for line in archive.changes:
        word, _, rest = line.partition(" ")
        yield from (f"ENV {each}" for each in rest.split()) if word == "ENV" else (line,)


@contextmanager
def of_podman(owner: Account | None, *archives: Archive) -> Iterator[list[str]]:
    names = [_in_podman(owner, each) for each in archives]
    yield names
    if owner is None:
        podman(owner, "rmi", "--force", *names)
    else:
        podman(owner, "system", "reset", "--force")


@contextmanager
def means_named(name: str, nodes: Nodes, folder: Path, *archives: Archive) -> Iterator[Means]:
    """`name`: the program's; with ` account`, as an account that is not root. `archives`: the
    small image, and that of JupyterLab."""
    program, _, is_account = name.partition(" ")
    with ExitStack() as stack:
        owner: Account | None = None
        if is_account:
            owner = stack.enter_context(account())
            folder = owner.folder
            key = nodes.slurm.jwt_key.read_bytes()
            (folder / "token").write_text(make_token(key, owner.name, int(time.time()), 86_400))
        left: Callable[[str], str] = _nothing
        match program:
            case "podman":
                images = stack.enter_context(of_podman(owner, *archives))
                left = partial(_left_of_podman, owner)
            case "pyxis":
                images = [str(nodes.files.squashed(each)) for each in archives]
                left = partial(_left_of_pyxis, nodes.slurm)
            case "apptainer":
                images = [str(nodes.files.sif(each)) for each in archives]
            case _:
                raise ValueError(name)
        small, jupyter = images
        yield Means(program, nodes, owner, folder, small, jupyter, left)


def _nothing(task_id: str) -> str:
    """All of it ends with the processes of the job."""
    return ""


def _left_of_podman(owner: Account | None, task_id: str) -> str:
    of_task = f"--filter=label=fetchml.task={task_id}"
    return podman(owner, "ps", "--all", "--quiet", of_task).strip()


def _left_of_pyxis(slurm: Slurm, task_id: str) -> str:
    """They are named by their jobs."""
    if not (found := pyxis.containers_left().split()):
        return ""
    rows = slurm.run("squeue", "--noheader", "--states=all", "--format=%A %j").splitlines()
    jobs = [f"pyxis_{row.split()[0]}." for row in rows if task_id in row]
    return " ".join(each for each in found if each.startswith(tuple(jobs)))
