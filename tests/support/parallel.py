"""Tests in several processes (`pytest -n 4`): how they are dealt out, and the engine they share."""

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from testbed.docker_engine import existing_engine, private_engine, why_no_private_engine

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

TOGETHER = {
    "tests/gpu/": "an engine with simulated GPUs",
    "tests/nodes/": "the image of JupyterLab",
    "tests/ui/": "a browser, and a busy host whose tasks keep running",
    "tests/jupyter/test_browser.py": "the image of JupyterLab",
    "tests/jupyter/test_many.py": "the image of JupyterLab",
    "tests/jupyter/test_old_workspace.py": "the image of JupyterLab",
    "tests/jupyter/test_services.py": "the image of JupyterLab",
}
"""Files that share a preparation of half a minute: one process runs them."""
LONG = (
    "tests/nodes/",
    "tests/ui/",
    "tests/client/test_examples.py",
    "tests/gpu/",
    "tests/examples/",
    "tests/server/test_slurm",
    "tests/jupyter/test_slurm.py",
    "tests/cli/test_documented_commands.py",
    "tests/server/test_crash",
    "tests/adapters/slurm/test_launcher.py",
    "tests/fuzz/",
    "tests/server/",
    "tests/jupyter/",
    "tests/adapters/",
    "tests/executable/",
    "tests/hostile/",
    "tests/envoy/",
    "tests/gateway/",
    "tests/release/",
    "tests/snapshots/",
    "tests/shim/",
)
"""Long files begin first, so that all processes end at about the same time."""
ENGINE = pytest.StashKey[ExitStack]()
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""This process's name, if there are several."""


def start_engine(config: pytest.Config) -> None:
    """One for all processes that the tests are dealt out to, where none answers."""
    is_one_of_many = bool(WORKER) or not getattr(config.option, "numprocesses", None)
    if is_one_of_many or existing_engine() is not None or why_no_private_engine() is not None:
        return
    stack = config.stash[ENGINE] = ExitStack()
    engine = stack.enter_context(private_engine(own_network=False))
    os.environ["DOCKER_HOST"] = engine.host


def longest_first(items: list[pytest.Item]) -> None:
    """Order the tests of several processes by file; a file's tests keep their order."""
    if WORKER:
        places = {item.nodeid: _place(item.nodeid) for item in items}
        items.sort(key=lambda item: places[item.nodeid])


def _place(nodeid: str) -> int:
    return next((at for at, name in enumerate(LONG) if nodeid.startswith(name)), len(LONG))


def pytest_unconfigure(config: pytest.Config) -> None:
    if ENGINE in config.stash:
        del os.environ["DOCKER_HOST"]
        config.stash[ENGINE].close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadFileScheduling":
    """A file's tests share its fixtures."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only where it is used

    class ByFile(LoadFileScheduling):  # type: ignore[misc]  # it ships no types
        def _split_scope(self, nodeid: str) -> str:
            shared = (what for name, what in TOGETHER.items() if nodeid.startswith(name))
            return next(shared, nodeid.split("::", maxsplit=1)[0])

    return ByFile(config, log)
