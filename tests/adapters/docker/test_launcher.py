"""The conformance suite over containers, and what only they have."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound

from fetchml.adapters.docker.container_config import container_name
from fetchml.adapters.docker.container_requests import Container, inspect
from fetchml.adapters.docker.engine_http import EngineHttp, EngineRefused
from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.core.model import SecretForm, SecretUse
from fetchml.files import secrets_file
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import (
    AttemptExit,
    Launcher,
    LaunchSpec,
    Mount,
    Owner,
    PrepareError,
    Secrets,
)
from testbed.docker_engine import Engine
from tests.adapters.launcher_conformance import RUNS_ONCE, UNTIL_TOLD, LauncherConformance, shell
from tests.support.launcher_bench import INSTANCE, Bench, end_of, silent
from tests.support.launcher_bench import bench as open_bench
from tests.support.registry import registry
from tests.support.waiting import soon

PROBE = """
import json, os, socket
def attempt(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return "done"
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "write to /": attempt(lambda: open("/made", "w")),
    "write to /.fetchml": attempt(lambda: open("/.fetchml/shim", "r+")),
    "write to /tmp": attempt(lambda: open("/tmp/made", "w")),
    "become root": attempt(lambda: os.setuid(0)),
    "docker socket": os.path.exists("/var/run/docker.sock"),
    "uid": os.getuid(),
    "capabilities": {status[name].strip() for name in status if name.startswith("Cap")} ==
        {"0" * 16},
    "no new privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "first process": open("/proc/1/cmdline").read().split("\\0")[0],
}))
"""


class TestDockerLauncher(LauncherConformance):
    @pytest.fixture
    async def bench(
        self, tmp_path: Path, docker_engine: Engine, python_image: str
    ) -> AsyncIterator[Bench]:
        self.client = docker_engine.client
        self.data_dir = tmp_path / "data"

        def make(_: object) -> Launcher:
            return DockerLauncher(self.data_dir, host=docker_engine.host, network="none")

        async with open_bench(self.data_dir, python_image, make) as bench:
            yield bench

    @pytest.fixture
    def engine(self, docker_engine: Engine) -> str:
        return docker_engine.host

    client: docker.DockerClient
    documented_column = 0

    def assert_nothing_left(self, run: LaunchSpec) -> None:
        with pytest.raises(NotFound):
            self.client.containers.get(container_name(run.task_id, run.attempt))

    async def test_hardening_bites(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("python3", "-c", PROBE)
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert json.loads(folder.tail()) == {
            "write to /": "Read-only file system",
            "write to /.fetchml": "Permission denied",
            "write to /tmp": "done",
            "become root": "Operation not permitted",
            "docker socket": False,
            "uid": 1000,
            "capabilities": True,
            "no new privileges": "1",
            "seccomp": "2",
            "interfaces": ["lo"],
            "first process": "/.fetchml/shim",
        }

    @pytest.mark.parametrize("owner", ["launcher", None])
    async def test_secrets_are_in_memory_and_in_no_configuration(
        self, bench: Bench, launcher: Launcher, owner: Owner
    ) -> None:
        """`None`: the user is the image's."""
        uses = ((SecretUse("TOKEN"), b"value-1"), (SecretUse("KEY", SecretForm.FILE), b"value-2"))
        script = (
            'grep -c " /secrets tmpfs rw,nosuid,nodev,noexec" /proc/mounts; cat /secrets/KEY; '
            'echo " $TOKEN"; ls /.fetchml/run | grep -c secrets'
        )
        secrets = Secrets(secrets_file.encode(uses))
        run = bench.run("sh", "-c", script, secrets=secrets, owner=owner)
        await soon(launcher.prepare(run, silent))
        container = self.client.containers.get(container_name(run.task_id, run.attempt))
        shown = json.dumps(container.attrs)
        assert "FETCHML_SECRETS=/secrets" in shown
        assert "value-1" not in shown
        assert "value-2" not in shown
        AttemptFolder(run.folder).open_gate()
        await soon(launcher.wait(run))
        assert AttemptFolder(run.folder).tail() == b"1\nvalue-2 value-1\n0\n"

    async def test_an_engine_that_came_back_between_two_requests_is_asked_again(
        self, bench: Bench, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert isinstance(launcher, DockerLauncher)
        engine, loop = launcher._engine, asyncio.get_running_loop()
        create, came_back = AttemptFolder.create, list[str]()

        async def come_back() -> None:
            came_back.append("again")
            before = engine.connections
            engine._following.cancel()
            engine._following = asyncio.create_task(engine._follow())
            while engine.connections == before:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

        def slowly(folder: AttemptFolder, *owner: int) -> None:
            create(folder, *owner)
            if not came_back:
                asyncio.run_coroutine_threadsafe(come_back(), loop).result()

        with monkeypatch.context() as patched:
            patched.setattr(AttemptFolder, "create", slowly)
            await bench.start(launcher, bench.run("true"))
        assert came_back

    async def test_container_request(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("true", cpu=1, memory_gb=1)
        await soon(launcher.prepare(run, silent))
        container = self.client.containers.get(container_name(run.task_id, run.attempt))
        host = container.attrs["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] == 1 << 30
        assert host["NanoCpus"] == 10**9
        assert host["PidsLimit"] == 4096
        assert host["LogConfig"]["Type"] == "none"
        assert host["RestartPolicy"]["Name"] == "no"
        assert host["AutoRemove"] is False
        assert host["Privileged"] is False
        assert host["Binds"] is None

    async def test_out_of_memory(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("python3", "-c", "x = bytearray(2 << 30)", memory_gb=1)
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit(out_of_memory=True)
        assert end_of(run).signal == 9

    async def test_out_of_memory_of_a_child_is_not_that_of_the_task(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, "python3 -c 'x = bytearray(2 << 30)'; exit 3", memory_gb=1)
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit(out_of_memory=False)

    async def test_user_of_the_image(
        self, bench: Bench, docker_engine: Engine, python_image: str
    ) -> None:
        launcher = DockerLauncher(
            bench.data_dir, host=docker_engine.host, network="none", user="image"
        )
        await launcher.open("another", lambda _, __: None)
        run = shell(bench, 'id -u; echo result > "$FETCHML_OUTPUTS/made"')
        folder = await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert folder.tail() == b"0\n"
        assert (folder.outputs / "made").read_text() == "result\n"
        await launcher.remove(run)
        await launcher.close()

    async def test_killed_from_outside(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, UNTIL_TOLD)
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        waiting = asyncio.create_task(launcher.wait(run))
        self.client.containers.get(container_name(run.task_id, run.attempt)).kill()
        gone = await soon(waiting)
        assert gone == AttemptExit(
            lost="the container was killed from outside while the task ran (exit 137)"
        )

    async def test_an_engine_that_notices_an_end_late_is_asked_for_the_reason(
        self, bench: Bench, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel reports an end before the engine does."""
        run, inspected = shell(bench, "true"), asyncio.Event()
        states: list[Container | None] = []

        async def late(http: EngineHttp, *, name: str) -> Container | None:
            state = await inspect(http, name=name)
            states.append(state)
            inspected.set()
            return states[0] if len(states) == 2 else state

        monkeypatch.setattr("fetchml.adapters.docker.launcher.inspect", late)
        await soon(launcher.prepare(run, silent))
        waiting = asyncio.create_task(launcher.wait(run))
        await soon(inspected.wait())
        self.client.containers.get(container_name(run.task_id, run.attempt)).kill()
        gone = await soon(waiting)
        assert gone == AttemptExit(
            lost="the container exited before the command started (exit 137)"
        )

    async def test_a_stop_that_the_first_process_did_not_handle_yet_is_sent_again(
        self, bench: Bench, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask, lost = EngineHttp.ask, iter(range(2))

        async def losing(http: EngineHttp, method: str, path: str, *rest: Any) -> Any:
            if path.endswith("/kill") and next(lost, None) is not None:
                return None
            return await ask(http, method, path, *rest)

        run = shell(bench, RUNS_ONCE)
        await launcher.prepare(run, silent)
        with monkeypatch.context() as patch:
            patch.setattr(EngineHttp, "ask", losing)
            await soon(launcher.stop(run))
        await soon(launcher.wait(run))
        assert AttemptFolder(run.folder).claim() is None

    async def test_removed_from_outside(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, UNTIL_TOLD)
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        self.client.containers.get(container_name(run.task_id, run.attempt)).remove(force=True)
        gone = await soon(launcher.wait(run))
        assert gone == AttemptExit(lost="the container was removed from outside while the task ran")

    async def test_clean_leaves_others_alone(self, bench: Bench, launcher: Launcher) -> None:
        labels = {"fetchml.instance": "another", "fetchml.task": "t", "fetchml.attempt": "1"}
        others = [
            self.client.containers.create(bench.image, "true", labels=labels),
            self.client.containers.create(bench.image, "true"),
        ]
        try:
            await launcher.clean(frozenset())
            for container in others:
                container.reload()
        finally:
            for container in others:
                container.remove()

    async def test_clean_removes_what_was_only_created(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, "true")
        labels = {
            "fetchml.instance": INSTANCE,
            "fetchml.task": run.task_id,
            "fetchml.attempt": "1",
        }
        self.client.containers.create(
            bench.image, "true", labels=labels, name=container_name(run.task_id, 1)
        )
        await launcher.clean(frozenset())
        self.assert_nothing_left(run)

    async def test_a_container_that_was_created_only_is_started(
        self, bench: Bench, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server died between the two requests."""
        run = shell(bench, RUNS_ONCE)
        with monkeypatch.context() as patch:
            patch.setattr(docker.APIClient, "start", lambda *_: None)
            await launcher.prepare(run, silent)
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert AttemptFolder(run.folder).end() is not None

    async def test_a_name_that_the_engine_has_reserved_is_waited_for(
        self, bench: Bench, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server died during the first request: the engine creates what nobody sees yet."""
        ask, refused = EngineHttp.ask, iter(range(5))

        async def busy(http: EngineHttp, method: str, path: str, *rest: Any) -> Any:
            if path == "/containers/create" and next(refused, None) is not None:
                raise EngineRefused(HTTPStatus.CONFLICT, "the container name is in use")
            return await ask(http, method, path, *rest)

        monkeypatch.setattr(EngineHttp, "ask", busy)
        run = shell(bench, RUNS_ONCE)
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert next(refused, None) is None

    async def test_a_container_that_can_t_start_is_removed(
        self, bench: Bench, docker_engine: Engine
    ) -> None:
        launcher = DockerLauncher(
            bench.data_dir, host=docker_engine.host, network="no-such-network"
        )
        await launcher.open("another", lambda _, __: None)
        run = shell(bench, "true")
        with pytest.raises(PrepareError, match="no-such-network"):
            await launcher.prepare(run, silent)
        self.assert_nothing_left(run)
        await launcher.close()

    async def test_an_image_that_no_registry_has(self, bench: Bench, launcher: Launcher) -> None:
        with registry() as address:
            run = bench.run("true", image=f"{address}/nothing:2")
            with pytest.raises(
                PrepareError,
                match=f"cannot pull image {address}/nothing:2: not found on this machine or",
            ) as info:
                await soon(launcher.prepare(run, silent))
        assert info.value.permanent

    async def test_a_registry_that_can_t_be_reached(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("true", image="127.0.0.1:1/nothing:1")
        message = "cannot pull image 127.0.0.1:1/nothing:1: cannot reach its registry"
        with pytest.raises(PrepareError, match=message) as info:
            await soon(launcher.prepare(run, silent))
        assert not info.value.permanent

    async def test_an_image_is_pulled_with_progress(self, bench: Bench, launcher: Launcher) -> None:
        said: list[str] = []
        go_on = threading.Event()

        def progress(sentence: str) -> None:
            said.append(sentence)
            if "%" in sentence:
                go_on.set()

        with registry(go_on) as address:
            image = f"{address}/noise:1"
            run = bench.run("/noise", image=image)
            folder = AttemptFolder(run.folder)
            await soon(launcher.prepare(run, progress))
        try:
            folder.open_gate()
            await soon(launcher.wait(run))
            assert end_of(run).code == 126
            assert said[0] == f"pulling {image}"
            assert said[1].startswith(f"pulling {image}: ")
            assert said[1].endswith(" % of 4 MB")
        finally:
            await launcher.remove(run)
            self.client.images.remove(image)

    async def test_read_only_mounts_refuse_every_write(
        self, bench: Bench, launcher: DockerLauncher, tmp_path: Path
    ) -> None:
        """Although the folder's own permissions would let every user write."""
        mounts = dict[str, tuple[Mount, ...]]()
        for kind, target in (
            ("volumes", "/volumes/models"),
            ("inputs", "/inputs/first"),
            ("datasets", "/data/digits"),
        ):
            source = tmp_path / kind
            source.mkdir()
            (source / "there").write_text("content")
            source.chmod(0o777)
            (source / "there").chmod(0o666)
            mounts[kind] = (Mount(source, target, read_only=True),)
        script = """
            for folder in /volumes/models /inputs/first /data/digits; do
                cd $folder && cat there
                for change in "touch made" "rm there" "mv there moved" "chmod 600 there"; do
                    $change 2>&1 | grep -q "Read-only file system" || echo "$folder: $change"
                done
                (echo more >>there) 2>&1 | grep -q "Read-only file system" || echo "$folder: append"
                mount -o remount,rw $folder 2>/dev/null && echo "$folder: remounted"
                cd /
            done
        """
        run = shell(bench, script, **mounts)
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert folder.tail() == b"content" * 3
        for kind in mounts:
            assert (tmp_path / kind / "there").read_text() == "content"
            assert [path.name for path in (tmp_path / kind).iterdir()] == ["there"]
