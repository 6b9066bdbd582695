"""What every room of the tests may use."""

import os
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.local_image import build_base
from testbed import debian
from testbed.docker_engine import (
    Engine,
    PrivateEngine,
    existing_engine,
    private_engine,
    why_no_private_engine,
)
from testbed.gpu.cdi import add_images, specification
from testbed.gpu.stand_in import GpuBox, build
from tests.support.parallel import (  # those that seem unused are hooks
    WORKER,
    longest_first,
    pytest_unconfigure,  # noqa: F401
    pytest_xdist_make_scheduler,  # noqa: F401
    start_engine,
)
from tests.support.repeatable import choose_examples, repeat_inputs

pytest_plugins = [
    "tests.support.engine_box",
    "tests.support.front",
    "tests.support.jupyter_root",
    "tests.support.server_fixtures",
    "tests.support.service_user",
    "tests.support.slurm_fixtures",
    "tests.support.webhook_receiver",
]

OWN_ENGINES = {"own_docker_engine", "cdi_engine", "runtime_engine"}
ENGINE_FIXTURES = {"docker_engine", *OWN_ENGINES}
NOT_RUN = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """The Docker engine that answers on this machine, or one started for this run of tests.

    It may be somebody's own: a test removes what it made, and nothing else.
    """
    if engine := existing_engine():
        with closing(engine):
            yield engine
    else:
        with private_engine(own_network=False) as private:
            yield private


@pytest.fixture
def own_docker_engine() -> Iterator[PrivateEngine]:
    """An engine of the test's own, which it may stop, kill and start. It has no image yet."""
    with private_engine(own_network=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def cdi_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    """An engine with CDI, images, and eight GPUs that are described and not there."""
    folder = tmp_path_factory.mktemp("cdi")
    (folder / "nvidia.yaml").write_text(yaml.safe_dump(specification()))
    settings = {"features": {"cdi": True}, "cdi-spec-dirs": [str(folder)]}
    with private_engine(own_network=True, settings=settings) as engine:
        add_images(engine.client)
        yield engine


@pytest.fixture(scope="session")
def python_image(docker_engine: Engine) -> Iterator[str]:
    """The name of an image in `docker_engine` with Python and a shell."""
    name = f"fetchml-test/python{WORKER}:1"
    with debian.no_installation():  # It is made of this machine's programs.
        build_base(docker_engine.client, name)
    yield name
    docker_engine.client.images.remove(name, force=True)


@pytest.fixture(scope="session")
def gpu_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvidia")
    build(folder)
    return folder


@pytest.fixture
def gpu_box(tmp_path: Path, gpu_libraries: Path, monkeypatch: pytest.MonkeyPatch) -> GpuBox:
    """A machine with a driver and no GPU, until the test says which."""
    box = GpuBox(tmp_path / "nvidia", gpu_libraries)
    box.set()
    box.enter(monkeypatch)
    return box


PRIVATE = "10.0.0.1"
"""Address of `private.example`."""


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """`private.example` has a private address, other names have none."""

    def look_up(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        if host != "private.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PRIVATE, port))]

    monkeypatch.setattr("fetchml.adapters.checked_hosts.socket.getaddrinfo", look_up)


# jsonschema would compile the grammar of a format that no description here uses, in each process.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # it can't be imported

# The tests start thousands of Python processes. Where this variable is set, each of them compiles
# all that it imports, and takes three times as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure(config: pytest.Config) -> None:
    """A run in the background may have been started with SIGINT ignored, which every process
    started here would inherit: Ctrl-C would then mean nothing to the commands under test."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    repeat_inputs()
    choose_examples(quick=config.option.markexpr == "not slow")
    start_engine(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need a Docker engine; leave them out where there can be none."""
    longest_first(items)
    for item in items:
        if ENGINE_FIXTURES & set(_fixtures(item)):
            item.add_marker("docker")
    need_engine = [item for item in items if item.get_closest_marker("docker")]
    if not need_engine or (reason := _why_no_engine(need_engine)) is None:
        return
    config.hook.pytest_deselected(items=need_engine)
    items[:] = [item for item in items if item not in need_engine]
    line = (
        f"NOT RUN: {len(need_engine)} tests that need a Docker engine: {reason}. "
        "Start one, or run the tests as root on Debian."
    )
    config.stash[NOT_RUN] = line
    if (output := getattr(config, "workeroutput", None)) is not None:
        output["not_run"] = line


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """With `-n` it is another process that shows the summary."""
    if line := getattr(node, "workeroutput", {}).get("not_run"):
        node.config.stash[NOT_RUN] = line


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a hostile client says may be no Unicode: with `-n` no such output could be passed on."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    required = os.environ.get("CI") == "true" or os.environ.get("FETCHML_REQUIRE_DOCKER") == "1"
    if required and NOT_RUN in session.config.stash:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if line := config.stash.get(NOT_RUN, None):
        terminalreporter.write_line(line, yellow=True)


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def _why_no_engine(need_engine: list[pytest.Item]) -> str | None:
    """Say why some test of `need_engine` can have no engine, or give None."""
    reason = why_no_private_engine()
    own = any(OWN_ENGINES & set(_fixtures(item)) for item in need_engine)
    if reason and (own or existing_engine() is None):
        return reason
    return None
