"""A task that asks the cloud's metadata service for the credentials of the host's role."""

import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.errors import NotFound

from fetchml.adapters.docker import metadata_rules
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.docker.network import interface_of
from fetchml.config.loader import load
from fetchml.ops.checks import launcher as checks
from fetchml.ports.gpu import GpuState
from fetchml.ports.launcher import AttemptExit
from fetchml.views import Finding
from testbed.docker_engine import Engine
from tests.support.launcher_bench import INSTANCE, Bench
from tests.support.launcher_bench import bench as open_bench
from tests.support.other_user import as_service
from tests.support.service_user import UID, granted
from tests.support.waiting import soon

SERVICE = """
import socket, threading
listeners = [socket.create_server(("169.254.169.254", port)) for port in (53, 80)]
print("listens", flush=True)
def serve(listener):
    while True:
        listener.accept()[0].sendall(b"answered")
threading.Thread(target=serve, args=listeners[:1]).start()
serve(listeners[1])
"""
ASK = """
import json, socket
found = {}
for port in (53, 80):
    try:
        with socket.create_connection(("169.254.169.254", port), 5) as connection:
            found[port] = connection.recv(100).decode()
    except OSError as error:
        found[port] = type(error).__name__
print(json.dumps(found))
"""
NAMESPACE, HOST_END, INNER_END = "fetchml-cloud", "fmlcloud0", "fmlcloud1"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def metadata_service() -> Iterator[None]:
    """A service with the cloud's address, in a network namespace that this host forwards to."""
    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", HOST_END, "type", "veth", "peer", INNER_END, "netns", NAMESPACE)
        ip("address", "add", "169.254.169.253/30", "dev", HOST_END)
        ip("link", "set", HOST_END, "up")
        ip("-n", NAMESPACE, "address", "add", "169.254.169.254/30", "dev", INNER_END)
        ip("-n", NAMESPACE, "link", "set", INNER_END, "up")
        command = ["ip", "netns", "exec", NAMESPACE, sys.executable, "-c", SERVICE]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as service:
            assert service.stdout is not None
            try:
                assert service.stdout.readline() == b"listens\n"
                yield
            finally:
                service.kill()
    finally:
        ip("netns", "delete", NAMESPACE)


@pytest.fixture
async def bench(
    tmp_path: Path, docker_engine: Engine, python_image: str, *, allowed: bool
) -> AsyncIterator[Bench]:
    def make(_: object) -> DockerLauncher:
        data_dir = tmp_path / "data"
        return DockerLauncher(data_dir, host=docker_engine.host, allow_metadata=allowed)

    async with open_bench(tmp_path / "data", python_image, make) as bench:
        yield bench
    with_network = docker_engine.client.networks
    with suppress(NotFound):
        with_network.get(f"fetchml-{INSTANCE}").remove()
    bridge = interface_of(with_network.get("bridge").attrs)
    metadata_rules.set_rules(bridge, closed=False)  # Removes those of the network that is gone.


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [False, True])
async def test_containers_reach_the_metadata_service_only_if_allowed(
    bench: Bench,
    docker_engine: Engine,
    metadata_service: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    allowed: bool,
) -> None:
    launcher = await bench.open()
    run = bench.run("python3", "-c", ASK)
    folder = await bench.start(launcher, run)
    assert await soon(launcher.wait(run)) == AttemptExit()
    found = json.loads(folder.tail())
    assert found == {"53": "answered", "80": "answered" if allowed else "ConnectionRefusedError"}

    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    bridge = interface_of(docker_engine.client.networks.get(f"fetchml-{INSTANCE}").attrs)
    assert metadata_rules.is_closed(bridge) is not allowed
    file = tmp_path / "fetchml.toml"
    file.write_text(
        f"[tasks]\nallow_metadata = {str(allowed).lower()}\nnetwork = 'fetchml-{INSTANCE}'"
    )
    settings = load(file, {"FETCHML_DATA_DIR": str(tmp_path / "data")})
    shown = {check.name: check for check in checks.docker(settings, GpuState())}
    assert ("cloud metadata" in shown) is not allowed
    if not allowed:
        assert shown["cloud metadata"].finding == "closed to containers"


@pytest.mark.slow
def test_doctor_shows_rules_that_close_the_service(
    docker_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    file = tmp_path / "fetchml.toml"
    file.write_text("[tasks]\nnetwork = 'bridge'")
    settings = load(file, {"FETCHML_DATA_DIR": str(tmp_path / "data")})

    def shown() -> Finding:
        return {c.name: c for c in checks.docker(settings, GpuState())}["cloud metadata"]

    added = metadata_rules.commands()
    assert all(command in shown().advice for command in added)
    for command in added:
        subprocess.run(shlex.split(command), check=True)
    try:
        assert shown().finding == "closed to containers"
    finally:
        for command in added:
            subprocess.run(shlex.split(command.replace(" -I ", " -D ")), check=True)
    monkeypatch.setenv("PATH", "")
    assert "the rules can't be read" in shown().finding


AS_THE_SERVER = """
import sys
from fetchml.adapters.docker.metadata_rules import RulesRefused, is_closed, set_rules
from fetchml.system import capabilities
capabilities.keep_from_children()
try:
    set_rules(sys.argv[1], closed=True)
    print(is_closed(sys.argv[1]))
    set_rules(sys.argv[1], closed=False)
    print(is_closed(sys.argv[1]))
except RulesRefused:
    print("refused")
"""


@pytest.mark.parametrize("is_the_service", [True, False])
def test_service_sets_the_rules_without_being_root(
    docker_engine: Engine, *, is_the_service: bool
) -> None:
    bridge = interface_of(docker_engine.client.networks.get("bridge").attrs)
    names = granted(docker=True) if is_the_service else []
    command = as_service(UID, names, sys.executable, "-c", AS_THE_SERVER, bridge)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == (["True", "False"] if is_the_service else ["refused"])
