"""Tasks in containers on the nodes of a real Slurm. Each means has one server, which its tests
share, and so they share an event loop; all means share a cluster."""

from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio
from _pytest.mark.structures import ParameterSet

from testbed.apptainer import program as apptainer
from tests.nodes.cluster import (
    Archive,
    Nodes,
    jupyter_archive,
    nodes_with_containers,
    small_archive,
)
from tests.nodes.means import Means, means_named
from tests.support.program import Server

_HERE = Path(__file__).parent
PROGRAMS = ("podman", "pyxis", "apptainer")


def of_program(name: str) -> list[ParameterSet]:
    """The means of one program: of root, and of an account that is not root."""
    # The stand-in for Apptainer needs root.
    is_for_root = name == "apptainer" and not apptainer.is_real()
    names = [name] if is_for_root else [name, f"{name} account"]
    return [pytest.param(each, id=each) for each in names]


MEANS = [each for name in PROGRAMS for each in of_program(name)]
FULL = "podman account"
in_full = pytest.mark.parametrize("means", [FULL], indirect=True)
"""For tests of what does not depend on the program. Each of the others runs tasks to their ends."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_here = item.path.is_relative_to(_HERE)
        if is_here and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    with nodes_with_containers() as nodes:
        yield nodes


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return small_archive(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session", params=MEANS)
def means(
    request: pytest.FixtureRequest,
    nodes: Nodes,
    small: Archive,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Means]:
    """Only `FULL` has the image of JupyterLab, which is large."""
    jupyter = small
    if request.param == FULL:
        jupyter = jupyter_archive(request.getfixturevalue("jupyter_root"))
    folder = tmp_path_factory.mktemp("means")
    with means_named(request.param, nodes, folder, small, jupyter) as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(means: Means) -> AsyncIterator[Server]:
    folder = means.make_folder("server")
    for name in ("models", "scratch"):
        means.make_folder(name)
    (means.folder / "models/weights").write_text("of the volume\n")
    (folder / "fetchml.toml").write_text(
        f"[volumes.models]\npath = '{means.folder}/models'\n"
        f"[volumes.scratch]\npath = '{means.folder}/scratch'\nmode = 'rw'\n"
    )
    server = means.server(
        folder,
        FETCHML_CONFIG=str(folder / "fetchml.toml"),
        FETCHML_TASKS_GRACE_SECONDS="2",
    )
    (folder / "fetchml.toml").chmod(0o644)
    yield await server.start()
    await server.close()
