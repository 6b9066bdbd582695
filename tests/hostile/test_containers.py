"""Containers that attack each other, the server or the Docker engine."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from docker.errors import NotFound as NotThere

from fetchml.adapters.docker.container_config import container_name
from fetchml.adapters.docker.engine_http import EngineAddress, EngineHttp
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.docker.network import TaskNetwork
from fetchml.adapters.docker.pull import _refusal
from fetchml.config.settings import TaskSettings
from fetchml.core.model import Role
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import AttemptExit, PrepareError
from testbed.docker_engine import Engine, private_engine
from tests.support.launcher_bench import INSTANCE, Bench, end_of, silent
from tests.support.launcher_bench import bench as open_bench
from tests.support.program import Backend, Server, Task
from tests.support.waiting import eventually, soon

LISTEN = """
import os, socket, threading, time
def serve(family, address):
    listener = socket.create_server(address, family=family)
    while True:
        listener.accept()[0].sendall(b"reached")
for family, address in ((socket.AF_INET, ("0.0.0.0", 5000)), (socket.AF_INET6, ("::", 5001))):
    threading.Thread(target=serve, args=(family, address), daemon=True).start()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(("192.0.2.1", 1))
    print(probe.getsockname()[0], open("/sys/class/net/eth0/address").read().strip(), flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
"""
REACH = """
import json, os, socket, sys
ip, mac = sys.argv[1:]
digits = [int(each, 16) for each in mac.split(":")]
local = "fe80::%02x%02x:%02xff:fe%02x:%02x%02x" % (digits[0] ^ 2, *digits[1:])
route = open("/proc/net/route").read().splitlines()[1].split()
gateway = socket.inet_ntoa(int(route[2], 16).to_bytes(4, "little"))
found = {}
for name, family, address in (
    ("ipv4", socket.AF_INET, (ip, 5000)),
    ("link-local", socket.AF_INET6, (local, 5001, 0, socket.if_nametoindex("eth0"))),
    ("host", socket.AF_INET, (gateway, 1)),
):
    with socket.socket(family) as connection:
        connection.settimeout(2)
        try:
            connection.connect(address)
            found[name] = connection.recv(100).decode()
        except OSError as error:
            found[name] = type(error).__name__
print(json.dumps(found))
"""
FIRST_UID = TaskSettings().first_uid
HOG = """
import ctypes, os, time
libc, held = ctypes.CDLL(None, use_errno=True), 0
while libc.inotify_init1(0) >= 0:
    held += 1
print("held", held, os.getuid(), flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["fetchml", pytest.param("bridge", marks=pytest.mark.slow)])
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def bench(
    tmp_path: Path, docker_engine: Engine, python_image: str, network: str
) -> AsyncIterator[Bench]:
    def make(_: object) -> DockerLauncher:
        return DockerLauncher(tmp_path / "data", host=docker_engine.host, network=network)

    async with open_bench(tmp_path / "data", python_image, make) as bench:
        yield bench
    try:
        docker_engine.client.networks.get(f"fetchml-{INSTANCE}").remove()
    except NotThere:
        assert network != "fetchml"


async def test_containers_cannot_reach_each_other(bench: Bench, network: str) -> None:
    """On the engine's own `bridge` they do: what is tried here would get through."""
    launcher = await bench.open()
    victim = bench.run("python3", "-c", LISTEN, owner=(1_900_000, 1_900_000))
    folder = await bench.start(launcher, victim)
    await bench.until_log(victim, b"\n")
    attacker = bench.run(
        "python3", "-c", REACH, *folder.tail().decode().split(), owner=(1_900_001, 1_900_001)
    )
    found = await bench.start(launcher, attacker)
    assert await soon(launcher.wait(attacker)) == AttemptExit()
    reached = json.loads(found.tail())
    apart = network == "fetchml"
    assert reached["ipv4"] == ("TimeoutError" if apart else "reached")
    assert not apart or reached["link-local"] != "reached"
    # The machine itself is reached through the gateway's address, as docs/security.md says.
    assert reached["host"] == "ConnectionRefusedError"
    (folder.workspace / "go").touch()
    await soon(launcher.wait(victim))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["fetchml"])
async def test_removed_network_is_recreated(bench: Bench, docker_engine: Engine) -> None:
    launcher = await bench.open()
    for _ in range(2):
        run = bench.run("true")
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert end_of(run).code == 0
        await launcher.remove(run)
        own = docker_engine.client.networks.get(f"fetchml-{INSTANCE}")
        assert own.attrs["Labels"] == {"fetchml.instance": INSTANCE}
        own.remove()
    await bench.start(launcher, last := bench.run("true"))
    await soon(launcher.wait(last))


@pytest.mark.slow
async def test_network_reuses_addresses_of_unused_networks_of_other_servers() -> None:
    pools = {"default-address-pools": [{"base": "172.30.0.0/23", "size": 24}]}
    with private_engine(own_network=True, settings=pools) as engine:
        http = EngineHttp(EngineAddress.find(engine.host))
        for instance in ("one", "other", "one"):
            network = TaskNetwork("fetchml")
            network.open(instance)
            await network.ensure(http)
            names = {found.name for found in engine.client.networks.list()}
            assert names == {"bridge", "host", "none", f"fetchml-{instance}"}
        await http.close()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["none"])
class TestOneContainer:
    @pytest.mark.parametrize("times", [1, 3])
    async def test_container_removed_before_start_is_recreated(
        self,
        bench: Bench,
        docker_engine: Engine,
        monkeypatch: pytest.MonkeyPatch,
        times: int,
    ) -> None:
        launcher = await bench.open()
        run = bench.run("sh", "-c", "exit 7")
        name, taken = container_name(run.task_id, 1), list[str]()
        ask = EngineHttp.ask

        async def take_away(
            self: EngineHttp, method: str, path: str, *arguments: object, **named: object
        ) -> object:
            if path.endswith("/start") and len(taken) < times:
                taken.append(name)
                await asyncio.to_thread(docker_engine.client.containers.get(name).remove)
            return await ask(self, method, path, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(EngineHttp, "ask", take_away)
        if times == 3:
            with pytest.raises(PrepareError, match="No such container") as info:
                await soon(launcher.prepare(run, silent))
            assert not info.value.permanent
            return
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert end_of(run).code == 7

    async def test_attempt_keeps_its_owner(self, bench: Bench) -> None:
        """Its shim may wait for the gate as that user."""
        run = bench.run("id", "-u", owner=(1_900_007, 1_900_007))
        launcher = await bench.open()
        await soon(launcher.prepare(run, silent))
        folder = AttemptFolder(run.folder)
        assert folder.owner() == (1_900_007, 1_900_007)
        folder.open_gate()
        await soon(launcher.wait(run))
        assert folder.tail() == b"1900007\n"


def test_registry_error_text_appears_only_in_log(caplog: pytest.LogCaptureFixture) -> None:
    secret = "Get https://registry.internal/v2/: 10.1.2.3 said <robot$builder> " + "x" * 10_000
    error = _refusal("acme/train:1", secret)
    assert str(error) == ("cannot pull image acme/train:1: the reason is in the server's log")
    assert not error.permanent
    (record,) = caplog.records
    assert str(record.__dict__["reason"]).startswith("Get https://registry.internal")
    assert len(record.__dict__["reason"]) == 2000
    denied = _refusal("acme/train:1", "pull access denied for acme/train, account robot$builder")
    assert denied.permanent
    assert "robot" not in str(denied)


@pytest.fixture
async def server(
    tmp_path: Path,
    containers_backend: Backend,
) -> AsyncIterator[Server]:
    server = Server(
        tmp_path / "data",
        containers_backend,
        FETCHML_TASKS_ALLOW_IMAGES="ghcr.io/acme/*",
        FETCHML_TASKS_GRACE_SECONDS="0",
    )
    yield await server.start()
    await server.close()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_task_exhausting_inotify_instances_does_not_block_others(server: Server) -> None:
    """They are counted by uid: not the server's, not another user's."""
    ada, _ = await server.clients(await server.key("ada", Role.USER))
    hog = {"job_name": "hog", "command": ["python3", "-c", HOG]}
    task_id = (await ada.submit(hog)).json["id"]
    folder = AttemptFolder(server.data_dir / f"tasks/{task_id}/attempts/1")
    await eventually(lambda: b"held" in folder.tail())
    uid = int(folder.tail().split()[2])
    assert uid >= FIRST_UID
    await server.kill_and_start()
    assert "No inotify instance" not in server.log
    bob, _ = await server.clients(await server.key("bob", Role.USER))
    script = "umask 077; id -u; echo mine > $FETCHML_OUTPUTS/private"
    other = {"job_name": "other", "command": ["sh", "-c", script]}
    theirs = (await bob.submit(other)).json["id"]
    assert (await server.ended(theirs)).status == Task.completed
    assert int((await server.get(theirs)).output) not in (uid, os.geteuid())
    assert (await bob.get(f"/v1/tasks/{theirs}/outputs/private")).body == b"mine\n"
    # The same user has the same uid as before the restart.
    ada, _ = await server.clients(await server.key("ada", Role.USER))
    again = {"job_name": "again", "command": ["id", "-u"]}
    again_id = (await ada.submit(again)).json["id"]
    await server.ended(again_id)
    assert int((await server.get(again_id)).output) == uid
    await eventually(lambda: not server.backend.left_of([theirs, again_id]))


@pytest.mark.slow
async def test_disallowed_image_is_rejected(server: Server) -> None:
    for path, request in (
        ("/v1/tasks", {"job_name": "a", "image": "evil/image"}),
        ("/v1/jupyter/services", {"name": "a", "image": "evil/image"}),
    ):
        reply = await server.rest.submit(request, path)
        assert reply.status == 422
        assert "[tasks] allow_images" in json.dumps(reply.json)
    # The owner's own default is allowed without being named.
    task_id = await server.submit("true")
    assert (await server.ended(task_id)).status == Task.completed
    await eventually(lambda: not server.backend.left_of([task_id]))
