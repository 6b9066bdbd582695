"""One Envoy for all tests here that share it: the suites start a server for each test behind it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import envoy as proxy
from testbed.authority import Authority
from tests.api.conftest import rest  # noqa: F401  # the suites' own fixtures
from tests.support import front


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="session")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for /etc/envoy."""
    folder = tmp_path_factory.mktemp("etc-envoy")
    authority.issue(folder / "cert.pem", folder / "key.pem")
    shutil.copy(proxy.CONFIGURATIONS / "fetchml.pb", folder)
    return folder


@pytest.fixture(scope="session")
def ports() -> dict[str, int]:
    """Where the servers of the tests have to listen."""
    http, grpc = proxy.free_ports(2)
    return {"http": http, "grpc": grpc}


@pytest.fixture(scope="session")
def edge(
    files: Path, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[proxy.Envoy]:
    folder = tmp_path_factory.mktemp("edge")
    with proxy.running("envoy.yaml", folder, files, ports, plain=True) as envoy:
        yield envoy


@pytest.fixture(autouse=True)
def through_the_edge(
    edge: proxy.Envoy, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All servers of the tests here are behind it, and all clients before it."""
    address = f"127.0.0.1:{edge.ports[proxy.PLAIN]}"
    place = front.Front(ports["http"], ports["grpc"], address)
    monkeypatch.setattr(front.PLACE, "front", place)
