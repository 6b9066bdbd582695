"""The front of a test: a direct connection, or Envoy between its clients and servers.

A test marked `fronts(EDGE)` runs twice: directly and through Envoy. Mark what a proxy can change:
streams, uploads, headers, timeouts, errors, limits, paths. In a module with that mark, a test
marked `not_through(EDGE, reason)` runs directly only. With FRONTS=direct no test runs through
Envoy. The worlds read from this module where a server listens and where its clients connect.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from testbed import envoy as proxy
from testbed.authority import Authority

DIRECT, EDGE, TRANSCODER = "direct", "edge", "transcoder"


class Front(NamedTuple):
    http_port: int
    """Port of REST and `/ws` behind the proxy."""
    grpc_port: int
    """Port of gRPC behind the proxy."""
    address: str
    """Address of the proxy, HOST:PORT."""


class Place:
    """Holds the front of the running test."""

    front: Front | None = None


PLACE = Place()


def http_port() -> int:
    """Return the port for an HTTP server; 0 if the system chooses."""
    return PLACE.front.http_port if PLACE.front else 0


def grpc_port() -> int:
    return PLACE.front.grpc_port if PLACE.front else 0


def seen(address: str) -> str:
    """Return where clients connect for a server that listens at `address` (HOST:PORT)."""
    return PLACE.front.address if PLACE.front else address


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = metafunc.definition.iter_markers("fronts")
    left_out = {mark.args[0] for mark in metafunc.definition.iter_markers("not_through")}
    if os.environ.get("FRONTS") == DIRECT:
        return
    names = [DIRECT, *(name for mark in marks for name in mark.args if name not in left_out)]
    if len(names) > 1:
        metafunc.parametrize("front", names, indirect=True)


@pytest.fixture(autouse=True)
def front(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the test's front, which is running before the test's servers start."""
    name: str = getattr(request, "param", DIRECT)
    if name != DIRECT:
        ports: dict[str, int] = request.getfixturevalue("ports")
        envoy: proxy.Envoy = request.getfixturevalue(name)
        address = f"127.0.0.1:{envoy.ports[proxy.PLAIN]}"
        monkeypatch.setattr(PLACE, "front", Front(ports["http"], ports["grpc"], address))
    return name


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="session")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for /etc/envoy."""
    folder = tmp_path_factory.mktemp("etc-envoy")
    authority.issue(folder / "cert.pem", folder / "key.pem")
    shutil.copy(proxy.CONFIGURATIONS / "fetchml.pb", folder)
    return folder


@pytest.fixture(scope="session")
def ports() -> dict[str, int]:
    """Ports of the servers behind the shared Envoys, used by one test after another."""
    http, grpc = proxy.free_ports(2)
    return {"http": http, "grpc": grpc}


@pytest.fixture(scope="session")
def edge(
    files: Path, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[proxy.Envoy]:
    folder = tmp_path_factory.mktemp("edge")
    with proxy.running("envoy.yaml", folder, files, ports, plain=True) as envoy:
        yield envoy


@pytest.fixture(scope="session")
def transcoder(
    files: Path, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[proxy.Envoy]:
    folder = tmp_path_factory.mktemp("transcoder")
    with proxy.running("transcoder.yaml", folder, files, ports, plain=True) as envoy:
        yield envoy
